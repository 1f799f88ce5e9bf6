// Reads little-endian values out of bytes that are not trusted: nothing is read beyond the end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "runtime/status.h"

namespace lynx {

static_assert(std::endian::native == std::endian::little, "model files are read in place");

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  template <typename T>
  absl::StatusOr<T> Read() {
    ASSIGN_OR_RETURN(std::span<const std::byte> raw, ReadBytes(sizeof(T)));
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }

  absl::StatusOr<std::span<const std::byte>> ReadBytes(uint64_t count) {
    if (count > remaining()) {
      return absl::DataLossError(absl::StrCat("the file ends too early: ", count,
                                              " bytes wanted at byte ", position_, ", ",
                                              remaining(), " there"));
    }
    auto raw = bytes_.subspan(position_, count);
    position_ += count;
    return raw;
  }

  // u64 length, then the bytes.
  absl::StatusOr<std::string_view> ReadString() {
    ASSIGN_OR_RETURN(uint64_t length, Read<uint64_t>());
    ASSIGN_OR_RETURN(std::span<const std::byte> raw, ReadBytes(length));
    return std::string_view(reinterpret_cast<const char*>(raw.data()), raw.size());
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t position_ = 0;
};

}  // namespace lynx
