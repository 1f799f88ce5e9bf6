// Builds GGUF files in memory, valid ones and others.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "model/gguf.h"

namespace lynx {

class GgufBuilder {
 public:
  uint32_t magic = 0x46554747;
  uint32_t version = 3;
  uint64_t extra_metadata = 0;  // claimed beyond what is there
  uint64_t extra_tensors = 0;
  uint64_t alignment = 32;

  template <typename T>
  static std::string Raw(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  static std::string Text(std::string_view s) {
    return Raw(static_cast<uint64_t>(s.size())) + std::string(s);
  }
  static std::string ArrayOf(GgufValueType type, uint64_t count, std::string_view elements) {
    return Raw(static_cast<uint32_t>(type)) + Raw(count) + std::string(elements);
  }

  GgufBuilder& Add(std::string_view key, GgufValueType type, std::string_view value) {
    metadata_ += Text(key) + Raw(static_cast<uint32_t>(type)) + std::string(value);
    ++metadata_count_;
    return *this;
  }
  // Extents innermost first, as in the file.
  GgufBuilder& Tensor(std::string_view name, std::vector<uint64_t> extents, uint32_t type,
                      uint64_t offset) {
    tensors_ += Text(name) + Raw(static_cast<uint32_t>(extents.size()));
    for (uint64_t extent : extents) tensors_ += Raw(extent);
    tensors_ += Raw(type) + Raw(offset);
    ++tensor_count_;
    return *this;
  }

  std::string Build(size_t data_bytes) const {
    std::string out = Raw(magic) + Raw(version) + Raw(tensor_count_ + extra_tensors) +
                      Raw(metadata_count_ + extra_metadata) + metadata_ + tensors_;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i * 7);
    return out;
  }

 private:
  std::string metadata_;
  std::string tensors_;
  uint64_t metadata_count_ = 0;
  uint64_t tensor_count_ = 0;
};

inline std::span<const std::byte> AsBytes(std::string_view s) {
  return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}

}  // namespace lynx
