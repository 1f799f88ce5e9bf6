// Weights of a Hugging Face folder: safetensors files, one or several shards.
//
//   u64 header length, header (a JSON object), data
//   header  {"name": {"dtype": "BF16", "shape": [..], "data_offsets": [begin, end]}, ..,
//   "__metadata__": {..}}
//
// What opens is sound: every range lies inside its file, has the size that shape and dtype give,
// and overlaps no other. Immutable, so any thread may read.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/tensor.h"
#include "runtime/mapped_file.h"
#include "runtime/status.h"

namespace lynx {

// A header may not be longer: real ones have some 100 bytes a tensor.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = uint64_t{100} << 20;

// The tensors of one file's bytes by name; their data points into `bytes`, their names into the
// keys. Only dtypes F32, F16 and BF16: UNIMPLEMENTED names a tensor of another.
using SafetensorsMap = std::map<std::string, ModelTensor, std::less<>>;
absl::StatusOr<SafetensorsMap> ParseSafetensors(std::span<const std::byte> bytes);

// All tensors of a folder.
class SafetensorsFolder {
 public:
  // The shards that model.safetensors.index.json names, or model.safetensors. Every tensor of the
  // index must be in the shard that the index says, and shards must hold no others. Errors name the
  // file.
  static absl::StatusOr<SafetensorsFolder> Open(const std::string& folder);

  const SafetensorsMap& tensors() const { return tensors_; }

 private:
  absl::Status AddShard(const std::string& path);

  std::vector<MappedFile> files_;
  SafetensorsMap tensors_;
};

}  // namespace lynx
