// A file mapped read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "runtime/status.h"

namespace lynx {

class MappedFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED or another error that names the path. An empty file gives an empty
  // span.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  // Valid as long as this object lives. If another process truncates the file meanwhile, access
  // faults: model files are replaced by rename, never in place.
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lynx
