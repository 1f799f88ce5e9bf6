#include "model/gguf.h"

#include <sys/mman.h>

#include <limits>
#include <utility>

#include "model/gguf_parser.h"
#include "model/quoted.h"

namespace lynx {

namespace {

absl::Status WrongType(std::string_view key, const char* wanted) {
  return absl::InvalidArgumentError(absl::StrCat("metadata ", Quoted(key), " is no ", wanted));
}

absl::Status Missing(std::string_view key) {
  return absl::NotFoundError(absl::StrCat("metadata ", Quoted(key), " is missing"));
}

// The alternative T of the value, or an error that names the key.
template <typename T>
absl::StatusOr<const T*> Get(const GgufFile& file, std::string_view key, const char* wanted) {
  const GgufValue* value = file.Find(key);
  if (value == nullptr) return Missing(key);
  const T* alternative = std::get_if<T>(value);
  if (alternative == nullptr) return WrongType(key, wanted);
  return alternative;
}

}  // namespace

absl::StatusOr<GgufFile> GgufFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  auto file = Parse(mapped.bytes());
  if (!file.ok()) return Annotate(file.status(), path);
  file->file_ = std::move(mapped);
  return file;
}

absl::StatusOr<GgufFile> GgufFile::Parse(std::span<const std::byte> bytes) {
  return GgufParser(bytes).Parse();
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  auto it = metadata_.find(key);
  return it == metadata_.end() ? nullptr : &it->second;
}

absl::StatusOr<std::string_view> GgufFile::String(std::string_view key) const {
  ASSIGN_OR_RETURN(const std::string_view* value, Get<std::string_view>(*this, key, "string"));
  return *value;
}

absl::StatusOr<int64_t> GgufFile::Int(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Missing(key);
  if (auto* number = std::get_if<int64_t>(value)) return *number;
  auto* number = std::get_if<uint64_t>(value);
  if (number == nullptr) return WrongType(key, "integer");
  if (*number > uint64_t{std::numeric_limits<int64_t>::max()})
    return absl::InvalidArgumentError(absl::StrCat("metadata ", Quoted(key), " is too large"));
  return static_cast<int64_t>(*number);
}

absl::StatusOr<double> GgufFile::Float(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Missing(key);
  if (auto* number = std::get_if<double>(value)) return *number;
  if (auto* number = std::get_if<int64_t>(value)) return static_cast<double>(*number);
  if (auto* number = std::get_if<uint64_t>(value)) return static_cast<double>(*number);
  return WrongType(key, "number");
}

absl::StatusOr<bool> GgufFile::Bool(std::string_view key) const {
  ASSIGN_OR_RETURN(const bool* value, Get<bool>(*this, key, "boolean"));
  return *value;
}

absl::StatusOr<const GgufArray*> GgufFile::Array(std::string_view key) const {
  return Get<GgufArray>(*this, key, "array");
}

const ModelTensor* GgufFile::FindTensor(std::string_view name) const {
  auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

void GgufFile::ReleasePages() const {
  auto bytes = file_.bytes();
  if (bytes.empty()) return;
  // Only a hint: a failure leaves the pages where they are.
  (void)::madvise(const_cast<std::byte*>(bytes.data()), bytes.size(), MADV_DONTNEED);
}

}  // namespace lynx
