// GGUF model files, versions 2 and 3, little-endian.
//
//   header    "GGUF", u32 version, u64 tensor count, u64 metadata count
//   metadata  string key, u32 type, value        (string: u64 length, bytes; array: u32 type, u64
//   count, values) tensors   string name, u32 dimensions, u64 extent each (innermost first), u32
//   type, u64 offset data      from the next multiple of general.alignment on; offsets count from
//   here
//
// A GgufFile that exists is sound: every offset, count, size and length was checked against the
// file's end, tensors do not overlap, names are unique. What the numbers mean is for others to
// judge. Immutable, so any thread may read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "model/tensor.h"
#include "runtime/mapped_file.h"
#include "runtime/status.h"

namespace lynx {

// Numbers as in the file.
enum class GgufValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};
std::string_view GgufValueTypeName(GgufValueType type);

// An array of one element type. Strings and numbers point into the file.
class GgufArray {
 public:
  GgufValueType element_type() const { return element_type_; }
  uint64_t size() const { return size_; }

  // The strings, if element_type() is kString; else empty.
  std::span<const std::string_view> strings() const { return strings_; }
  // The inner arrays, if element_type() is kArray; else empty.
  std::span<const GgufArray> arrays() const { return arrays_; }

  // Element `i` < size() of an array of numbers or booleans. An integer that does not fit, or an
  // element that is no integer: INVALID_ARGUMENT.
  absl::StatusOr<int64_t> Int(uint64_t i) const;
  // Integers are converted. An element that is no number: INVALID_ARGUMENT.
  absl::StatusOr<double> Float(uint64_t i) const;

 private:
  friend class GgufParser;
  GgufValueType element_type_ = GgufValueType::kUint8;
  uint64_t size_ = 0;
  std::span<const std::byte> raw_;  // little-endian elements of fixed size
  std::vector<std::string_view> strings_;
  std::vector<GgufArray> arrays_;
};

// u8..u64, i8..i64, f32 and f64 (as double), bool, string, array.
using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray>;

class GgufFile {
 public:
  // Maps and parses the file. Errors name the path.
  static absl::StatusOr<GgufFile> Open(const std::string& path);
  // Parses memory that outlives the result.
  static absl::StatusOr<GgufFile> Parse(std::span<const std::byte> bytes);

  uint32_t version() const { return version_; }

  // Metadata. Views and pointers live as long as this object.
  const GgufValue* Find(std::string_view key) const;  // null if absent
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  // NOT_FOUND if absent, INVALID_ARGUMENT if of another type or, for integers, out of range. Both
  // name the key.
  absl::StatusOr<std::string_view> String(std::string_view key) const;
  absl::StatusOr<int64_t> Int(std::string_view key) const;   // any integer type
  absl::StatusOr<double> Float(std::string_view key) const;  // any number
  absl::StatusOr<bool> Bool(std::string_view key) const;
  absl::StatusOr<const GgufArray*> Array(std::string_view key) const;

  std::span<const ModelTensor> tensors() const { return tensors_; }  // in file order
  const ModelTensor* FindTensor(std::string_view name) const;        // null if absent

  // Lets the system drop the file's pages from memory; they are read again on access. For use after
  // the weights were converted: the metadata stays valid. Does nothing for Parse().
  void ReleasePages() const;

 private:
  friend class GgufParser;
  GgufFile() = default;

  MappedFile file_;
  uint32_t version_ = 0;
  std::unordered_map<std::string_view, GgufValue> metadata_;
  std::vector<ModelTensor> tensors_;
  std::unordered_map<std::string_view, size_t> tensor_index_;
};

}  // namespace lynx
