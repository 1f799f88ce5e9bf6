// Every field of an identity, for whoever compares identities or shows them.
#pragma once

#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/lynx.pb.h"

namespace lynx {

using IdentityField = std::pair<const char*, const std::string& (v1::Identity::*)() const>;

inline constexpr std::array<IdentityField, 6> kIdentityFields{
    {{"weights_hash", &v1::Identity::weights_hash},
     {"code_version", &v1::Identity::code_version},
     {"backend", &v1::Identity::backend},
     {"architecture", &v1::Identity::architecture},
     {"kv_target", &v1::Identity::kv_target},
     {"arithmetic", &v1::Identity::arithmetic}}};

// Equal for equal identities and for no others, whatever bytes their fields hold.
inline std::string IdentityKey(const v1::Identity& identity) {
  std::string key;
  for (const IdentityField& field : kIdentityFields) {
    const std::string& value = (identity.*field.second)();
    absl::StrAppend(&key, value.size(), ":", value);
  }
  return key;
}

}  // namespace lynx
