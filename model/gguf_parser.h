// The parser behind GgufFile::Open and Parse.
#pragma once

#include <string>

#include "model/byte_reader.h"
#include "model/gguf.h"

namespace lynx {

class GgufParser {
 public:
  explicit GgufParser(std::span<const std::byte> bytes) : bytes_(bytes), reader_(bytes) {}

  absl::StatusOr<GgufFile> Parse();

 private:
  absl::Status ParseHeader();
  absl::Status ParseMetadata();
  absl::Status ParseAlignment();
  absl::Status ParseTensors();
  absl::Status CheckOverlaps() const;

  absl::StatusOr<GgufValue> ReadValue(GgufValueType type);
  absl::StatusOr<GgufArray> ReadArray(int depth);
  absl::StatusOr<ModelTensor> ReadTensor(uint64_t* offset, uint64_t* size_bytes);
  absl::StatusOr<std::vector<int64_t>> ReadShape(uint64_t* values);
  absl::Status PlaceTensors(std::span<const uint64_t> offsets, std::span<const uint64_t> sizes);

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  uint64_t tensor_count_ = 0;
  uint64_t metadata_count_ = 0;
  uint64_t alignment_ = 32;
  GgufFile file_;
};

}  // namespace lynx
