#include "gateway/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace lynx {

absl::StatusOr<ApiKeys> ApiKeys::Load(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  ApiKeys keys;
  for (std::string line; std::getline(file, line);) {
    const absl::string_view key = absl::StripAsciiWhitespace(line);
    if (key.empty() || key.front() == '#') continue;
    keys.digests_.push_back(Hash({key.data(), key.size()}));
  }
  if (file.bad()) return absl::DataLossError(absl::StrCat(path, ": reading failed"));
  if (keys.digests_.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": has no key"));
  return keys;
}

ApiKeys::Digest ApiKeys::Hash(std::string_view key) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

bool ApiKeys::Allows(std::string_view header) const {
  if (digests_.empty()) return true;
  constexpr std::string_view kScheme = "Bearer ";
  const absl::string_view value(header.data(), header.size());
  if (!absl::StartsWithIgnoreCase(value, {kScheme.data(), kScheme.size()})) return false;
  const absl::string_view key = absl::StripAsciiWhitespace(value.substr(kScheme.size()));
  const Digest presented = Hash({key.data(), key.size()});
  bool allowed = false;
  for (const Digest& digest : digests_) {  // all of them, whichever fits
    allowed |= CRYPTO_memcmp(digest.data(), presented.data(), digest.size()) == 0;
  }
  return allowed;
}

}  // namespace lynx
