#include "proto/identity.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "proto/identity_fields.h"

namespace lynx {
namespace {

// A peer's field may hold anything of any length; messages stay readable and short.
constexpr size_t kFieldCharsMax = 64;

}  // namespace

v1::Identity MakeIdentity(const ModelConfig& config, const WeightsHash& weights, KvTarget target,
                          std::string_view backend, std::string_view arithmetic) {
  v1::Identity identity;
  identity.set_weights_hash(weights.ToHex());
  identity.set_code_version(kArithmeticVersion);
  identity.set_backend(std::string(backend));
  identity.set_architecture(std::string(ArchitectureName(config.architecture)));
  identity.set_kv_target(std::string(KvTargetName(target)));
  identity.set_arithmetic(std::string(arithmetic));
  return identity;
}

std::string ToString(const v1::Identity& identity) {
  std::vector<std::string> parts;
  for (const auto& [name, get] : kIdentityFields) {
    const std::string value = absl::CHexEscape((identity.*get)().substr(0, kFieldCharsMax));
    parts.push_back(absl::StrCat(name, "=", value));
  }
  return absl::StrCat("{", absl::StrJoin(parts, " "), "}");
}

absl::Status CompareIdentity(const v1::Identity& ours, const v1::Identity& theirs) {
  std::vector<std::string> differing;
  for (const auto& [name, get] : kIdentityFields) {
    if ((ours.*get)() != (theirs.*get)()) differing.push_back(name);
  }
  if (differing.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("identities differ in ", absl::StrJoin(differing, ", "), ": this server is ",
                   ToString(ours), ", the peer ", ToString(theirs)));
}

}  // namespace lynx
