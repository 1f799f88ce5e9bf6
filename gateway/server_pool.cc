#include "gateway/server_pool.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/identity_fields.h"
#include "runtime/status.h"

namespace lynx {

bool SameIdentity(const v1::Identity& a, const v1::Identity& b) {
  return IdentityKey(a) == IdentityKey(b);
}

std::shared_ptr<ServerPool> ServerPool::Create(PoolOptions options,
                                               std::vector<std::shared_ptr<DecodeClient>> decode,
                                               std::vector<std::shared_ptr<InfoClient>> prefill) {
  return std::shared_ptr<ServerPool>(
      new ServerPool(options, std::move(decode), std::move(prefill)));
}

ServerPool::ServerPool(PoolOptions options, std::vector<std::shared_ptr<DecodeClient>> decode,
                       std::vector<std::shared_ptr<InfoClient>> prefill)
    : options_(options) {
  absl::MutexLock lock(&mu_);
  decode_clients_ = std::move(decode);
  for (const auto& client : decode_clients_) decode_.emplace_back().client = client;
  for (auto& client : prefill) prefill_.emplace_back().client = std::move(client);
}

void ServerPool::Poll() {
  size_t decodes = 0, prefills = 0;
  {
    absl::MutexLock lock(&mu_);
    decodes = decode_.size();
    prefills = prefill_.size();
  }
  for (size_t i = 0; i < decodes; ++i) Ask(&ServerPool::decode_, i);
  for (size_t i = 0; i < prefills; ++i) Ask(&ServerPool::prefill_, i);
}

void ServerPool::Ask(std::vector<Server> ServerPool::*group, size_t index) {
  std::shared_ptr<InfoClient> client;
  {
    absl::MutexLock lock(&mu_);
    Server& server = (this->*group)[index];
    if (closed_ || server.asking) return;
    server.asking = true;
    client = server.client;
  }
  // The answer may come after the pool is gone.
  client->Info(options_.info_timeout,
               [weak = weak_from_this(), group, index](absl::StatusOr<v1::ServerInfo> info) {
                 if (auto pool = weak.lock()) pool->Answer(group, index, std::move(info));
               });
}

void ServerPool::Answer(std::vector<Server> ServerPool::*group, size_t index,
                        absl::StatusOr<v1::ServerInfo> info) {
  absl::MutexLock lock(&mu_);
  if (closed_) return;
  Server& server = (this->*group)[index];
  server.asking = false;
  const bool ok = info.ok();
  if (ok != server.reachable) {
    spdlog::info("server address={} reachable={} reason=\"{}\"", server.client->address(), ok,
                 ok ? "" : std::string(info.status().message()));
  }
  server.reachable = ok;
  if (ok) {
    server.info = *std::move(info);
  } else {
    server.problem = std::string(info.status().message());
  }
}

void ServerPool::ReportUnreachable(size_t decode_index, const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  decode_[decode_index].reachable = false;
  decode_[decode_index].problem = std::string(status.message());
}

std::vector<std::string> ServerPool::PrefillsLocked(const v1::Identity& identity) const {
  std::vector<const Server*> servers;
  for (const Server& server : prefill_) {
    if (server.reachable && SameIdentity(server.info.identity(), identity)) {
      servers.push_back(&server);
    }
  }
  std::stable_sort(servers.begin(), servers.end(), [](const Server* a, const Server* b) {
    return a->info.prompt_tokens_outstanding() < b->info.prompt_tokens_outstanding();
  });
  std::vector<std::string> addresses;
  for (const Server* server : servers) addresses.push_back(server->client->address());
  return addresses;
}

bool ServerPool::ReadyLocked(const Server& decode) const {
  return decode.reachable && !PrefillsLocked(decode.info.identity()).empty();
}

absl::StatusOr<ServerPool::Pick> ServerPool::Choose(const std::optional<v1::Identity>& identity,
                                                    std::optional<size_t> exclude) {
  absl::MutexLock lock(&mu_);
  if (closed_) return absl::UnavailableError("The gateway is shutting down.");
  std::optional<size_t> best;
  int64_t best_load = 0;
  for (size_t k = 1; k <= decode_.size(); ++k) {
    const size_t i = (last_pick_ + k) % decode_.size();  // equals take turns
    const Server& server = decode_[i];
    if (exclude == i || !ReadyLocked(server)) continue;
    if (identity && !SameIdentity(*identity, server.info.identity())) continue;
    // The server's own report counts other gateways, ours is up to date.
    const int64_t load =
        std::max(server.in_flight, server.info.requests_running() + server.info.requests_waiting());
    if (best && load >= best_load) continue;
    best = i;
    best_load = load;
  }
  if (!best) return absl::UnavailableError(ProblemLocked());
  last_pick_ = *best;
  Server& server = decode_[*best];
  ++server.in_flight;
  Pick pick;
  pick.index = *best;
  pick.client = decode_clients_[*best];
  pick.identity = server.info.identity();
  pick.prefill_addresses = PrefillsLocked(pick.identity);
  pick.lease = std::shared_ptr<void>(nullptr, [self = shared_from_this(), i = *best](void*) {
    absl::MutexLock lock(&self->mu_);
    --self->decode_[i].in_flight;
  });
  return pick;
}

void ServerPool::Close() {
  std::vector<std::shared_ptr<InfoClient>> clients;  // to go when the lock is given up
  absl::MutexLock lock(&mu_);
  closed_ = true;
  for (auto* group : {&decode_, &prefill_}) {
    for (Server& server : *group) clients.push_back(std::move(server.client));
  }
  decode_clients_.clear();  // these, too, are among `clients`
}

std::string ServerPool::ProblemLocked() const {
  for (const auto* group : {&decode_, &prefill_}) {
    for (const Server& server : *group) {
      if (server.reachable) continue;
      return absl::StrCat("No pair of decode and prefill servers is ready: ",
                          server.client->address(), ": ", server.problem);
    }
  }
  return "No pair of decode and prefill servers of one identity is ready.";
}

PoolState ServerPool::State() const {
  absl::MutexLock lock(&mu_);
  PoolState state;
  if (closed_) return state;
  state.decode_total = static_cast<int64_t>(decode_.size());
  for (const Server& server : prefill_) {
    if (!server.reachable) continue;
    ++state.prefill_ready;
    state.prefill_pages_total += server.info.pages_total();
    state.prefill_pages_free += server.info.pages_free();
  }
  for (const Server& server : decode_) {
    if (!ReadyLocked(server)) continue;
    const v1::ServerInfo& info = server.info;
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

}  // namespace lynx
