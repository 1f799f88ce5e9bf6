// What a pool tells of its servers.
#include <xxhash.h>

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gateway/server_pool.h"
#include "proto/identity_fields.h"

namespace lynx {

const char* ServerRoleName(ServerRole role) {
  return role == ServerRole::kDecode ? "decode" : "prefill";
}

const char* ServerConditionName(ServerCondition condition) {
  switch (condition) {
    case ServerCondition::kUnknown:
      return "unknown";
    case ServerCondition::kReady:
      return "ready";
    case ServerCondition::kDraining:
      return "draining";
    case ServerCondition::kStalled:
      return "stalled";
    case ServerCondition::kUnreachable:
      return "unreachable";
    case ServerCondition::kDuplicate:
      return "duplicate";
  }
  return "unknown";
}

std::string IdentityFingerprint(const v1::Identity& identity) {
  const std::string key = IdentityKey(identity);
  return absl::StrCat(absl::Hex(XXH64(key.data(), key.size(), 0), absl::kZeroPad16));
}

std::string ServerPool::ProblemLocked(ServerRole role) const {
  const std::string& of_names = name_problems_[static_cast<int>(role)];
  std::string first;
  int64_t others = -1;
  for (const auto& [id, server] : servers_) {
    if (server.role != role) continue;
    if (server.condition == ServerCondition::kReady) return "";
    if (++others == 0) first = absl::StrCat(server.address, ": ", server.reason);
  }
  std::string problem = absl::StrCat(ServerRoleName(role), " servers: ", first);
  if (others > 0) absl::StrAppend(&problem, " (and ", others, " more)");
  if (!first.empty() && !of_names.empty()) absl::StrAppend(&problem, ", ");
  absl::StrAppend(&problem, of_names);
  if (first.empty() && of_names.empty()) absl::StrAppend(&problem, "there are none");
  return problem;
}

std::string ServerPool::ProblemLocked() const {
  const std::string decode = ProblemLocked(ServerRole::kDecode);
  const std::string prefill = ProblemLocked(ServerRole::kPrefill);
  if (decode.empty() && prefill.empty()) {
    return "No pair of decode and prefill servers of one identity is ready.";
  }
  return absl::StrCat("No pair of decode and prefill servers is ready: ", decode,
                      decode.empty() || prefill.empty() ? "" : "; ", prefill);
}

PoolState ServerPool::State() const {
  absl::MutexLock lock(&mu_);
  PoolState state;
  if (closed_) return state;
  for (const auto& [id, server] : servers_) {
    const v1::ServerInfo& info = server.info;
    const bool ready = server.condition == ServerCondition::kReady;
    if (server.role == ServerRole::kPrefill) {
      if (!ready) continue;
      ++state.prefill_ready;
      state.prefill_pages_total += info.pages_total();
      state.prefill_pages_free += info.pages_free();
      continue;
    }
    ++state.decode_total;
    if (!ready || !balancer_.Paired(id)) continue;
    ++state.decode_ready;
    if (state.model_name.empty()) state.model_name = info.model_name();
    state.max_context = state.max_context == 0 ? info.max_context()
                                               : std::min(state.max_context, info.max_context());
    state.requests_running += info.requests_running();
    state.requests_waiting += info.requests_waiting();
    state.pages_total += info.pages_total();
    state.pages_free += info.pages_free();
  }
  if (state.decode_ready == 0) state.problem = ProblemLocked();
  return state;
}

std::vector<ServerSnapshot> ServerPool::Servers() const {
  std::vector<ServerSnapshot> all;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, server] : servers_) {
      const v1::ServerInfo& info = server.info;
      all.push_back({.address = server.address,
                     .role = server.role,
                     .condition = server.condition,
                     .reason = server.reason,
                     .paired = balancer_.Paired(id),
                     .requests_running = info.requests_running(),
                     .requests_waiting = info.requests_waiting(),
                     .tokens_outstanding = balancer_.OutstandingTokens(id),
                     .pages_total = info.pages_total(),
                     .pages_free = info.pages_free(),
                     .identity = IdentityFingerprint(info.identity())});
    }
  }
  std::sort(all.begin(), all.end(), [](const ServerSnapshot& a, const ServerSnapshot& b) {
    return std::tie(a.role, a.address) < std::tie(b.role, b.address);
  });
  return all;
}

}  // namespace lynx
