// Metadata values: names of types, elements of arrays.
#include <cstring>
#include <limits>

#include "model/gguf.h"

namespace lynx {

namespace {

template <typename T>
T Element(std::span<const std::byte> raw, uint64_t i) {
  T value;
  std::memcpy(&value, raw.data() + i * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

std::string_view GgufValueTypeName(GgufValueType type) {
  constexpr std::string_view kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                         "int32",  "float32", "bool",   "string", "array",
                                         "uint64", "int64",   "float64"};
  auto number = static_cast<uint32_t>(type);
  return number < std::size(kNames) ? kNames[number] : "unknown";
}

absl::StatusOr<int64_t> GgufArray::Int(uint64_t i) const {
  LYNX_CHECK(i < size_);
  switch (element_type_) {
    case GgufValueType::kUint8:
    case GgufValueType::kBool:
      return Element<uint8_t>(raw_, i);
    case GgufValueType::kInt8:
      return Element<int8_t>(raw_, i);
    case GgufValueType::kUint16:
      return Element<uint16_t>(raw_, i);
    case GgufValueType::kInt16:
      return Element<int16_t>(raw_, i);
    case GgufValueType::kUint32:
      return Element<uint32_t>(raw_, i);
    case GgufValueType::kInt32:
      return Element<int32_t>(raw_, i);
    case GgufValueType::kInt64:
      return Element<int64_t>(raw_, i);
    case GgufValueType::kUint64: {
      auto value = Element<uint64_t>(raw_, i);
      if (value > uint64_t{std::numeric_limits<int64_t>::max()})
        return absl::InvalidArgumentError(absl::StrCat("element ", i, " is too large: ", value));
      return static_cast<int64_t>(value);
    }
    default:
      return absl::InvalidArgumentError("the array's elements are no integers");
  }
}

absl::StatusOr<double> GgufArray::Float(uint64_t i) const {
  LYNX_CHECK(i < size_);
  switch (element_type_) {
    case GgufValueType::kFloat32:
      return Element<float>(raw_, i);
    case GgufValueType::kFloat64:
      return Element<double>(raw_, i);
    case GgufValueType::kUint64:
      return static_cast<double>(Element<uint64_t>(raw_, i));
    case GgufValueType::kBool:
    case GgufValueType::kString:
    case GgufValueType::kArray:
      return absl::InvalidArgumentError("the array's elements are no numbers");
    default: {
      ASSIGN_OR_RETURN(int64_t value, Int(i));
      return static_cast<double>(value);
    }
  }
}

}  // namespace lynx
