// A tensor as a model file holds it, whichever format the file has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lynx {

// Element types, numbered as in GGUF files. Only some can be converted (model/dequantize.h).
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

struct GgmlTypeInfo {
  std::string_view name;
  uint32_t block_values;  // values in one block
  uint32_t block_bytes;
};
// Null for a number that no known version of the format defines.
const GgmlTypeInfo* FindGgmlType(GgmlType type);

// Not owning: name and data point into the file.
struct ModelTensor {
  std::string_view name;
  GgmlType type = GgmlType::kF32;
  // Extents, outermost first: a linear layer's weight is [outputs, inputs]. At least one.
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // shape's product / block_values * block_bytes bytes
};

// "[576, 1536]"
std::string ShapeString(std::span<const int64_t> shape);

}  // namespace lynx
