// The keys that clients may present.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lynx {

// Immutable: any thread.
class ApiKeys {
 public:
  // No key is needed.
  ApiKeys() = default;
  // One key a line; blank lines and lines that begin with '#' are skipped. A file without keys is
  // an error: it would shut everyone out, or let everyone in, unseen.
  static absl::StatusOr<ApiKeys> Load(const std::string& path);

  // `header` is the Authorization header, "Bearer KEY". The time it takes says nothing about the
  // keys.
  bool Allows(std::string_view header) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  static Digest Hash(std::string_view key);

  std::vector<Digest> digests_;  // empty: everyone
};

}  // namespace lynx
