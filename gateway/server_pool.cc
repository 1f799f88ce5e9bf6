#include "gateway/server_pool.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "gateway/random_id.h"
#include "proto/identity_fields.h"
#include "runtime/log.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr int64_t kPageTokens = 64;  // of the pages that servers report

// A broken server's numbers must not overflow sums over all servers.
constexpr int64_t kReportedMax = int64_t{1} << 40;

void Bound(v1::ServerInfo* info) {
  const auto bounded = [](int64_t n) { return std::clamp<int64_t>(n, 0, kReportedMax); };
  info->set_max_context(bounded(info->max_context()));
  info->set_pages_total(bounded(info->pages_total()));
  info->set_pages_free(bounded(info->pages_free()));
  info->set_requests_running(bounded(info->requests_running()));
  info->set_requests_waiting(bounded(info->requests_waiting()));
  info->set_tokens_outstanding(bounded(info->tokens_outstanding()));
}

ServerReport ReportOf(const v1::ServerInfo& info) {
  return {.identity = IdentityKey(info.identity()),
          .tokens_outstanding = info.tokens_outstanding(),
          .tokens_free = info.pages_free() * kPageTokens};
}

}  // namespace

std::shared_ptr<ServerPool> ServerPool::Create(const PoolOptions& options, ServerClients clients,
                                               const Clock* clock) {
  return std::shared_ptr<ServerPool>(new ServerPool(options, std::move(clients), clock));
}

ServerPool::ServerPool(const PoolOptions& options, ServerClients clients, const Clock* clock)
    : options_(options),
      clients_(std::move(clients)),
      clock_(clock),
      balancer_(DrawSeed()),
      retries_(options.retry_share) {}

// ---- Who is there ----

void ServerPool::SetServers(ServerRole role, const std::vector<std::string>& addresses,
                            std::string problem) {
  std::set<std::string> added;
  {
    absl::MutexLock lock(&mu_);
    if (closed_) return;
    name_problems_[static_cast<int>(role)] = std::move(problem);
    added = Retire(role, {addresses.begin(), addresses.end()});
  }
  for (const std::string& address : added) Ask(Add(role, address));
}

std::set<std::string> ServerPool::Retire(ServerRole role, std::set<std::string> addresses) {
  for (auto it = servers_.begin(); it != servers_.end();) {
    const auto& [id, server] = *it;
    if (server.role != role || addresses.erase(server.address) > 0) {
      ++it;
      continue;
    }
    spdlog::info("server left role={} address={}", ServerRoleName(role), server.address);
    ForgetIncarnation(id, server);
    balancer_.Remove(id);
    retired_.push_back(server.client);
    it = servers_.erase(it);
  }
  return addresses;
}

ServerId ServerPool::Add(ServerRole role, const std::string& address) {
  Server server;
  server.role = role;
  server.address = address;
  if (role == ServerRole::kDecode) {
    std::shared_ptr<DecodeClient> client = clients_.decode(address);
    server.decode = client.get();
    server.client = std::move(client);
  } else {
    server.client = clients_.prefill(address);
  }
  absl::MutexLock lock(&mu_);
  const ServerId id = balancer_.Add(role, address);
  if (!closed_) servers_.emplace(id, std::move(server));
  return id;
}

// ---- How they are ----

void ServerPool::Poll(uint64_t part, uint64_t parts) {
  std::vector<ServerId> due;
  std::vector<std::shared_ptr<InfoClient>> unused;  // they go when the lock is given up
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, server] : servers_) {
      if (static_cast<uint32_t>(id) % parts == part) due.push_back(id);
    }
    const auto last_holder = [](const auto& client) { return client.use_count() == 1; };
    const auto end = std::partition(retired_.begin(), retired_.end(), last_holder);
    unused.assign(std::make_move_iterator(retired_.begin()), std::make_move_iterator(end));
    retired_.erase(retired_.begin(), end);
  }
  for (const ServerId id : due) Ask(id);
}

void ServerPool::Ask(ServerId id) {
  std::shared_ptr<InfoClient> client;
  {
    absl::MutexLock lock(&mu_);
    const auto it = servers_.find(id);
    if (it == servers_.end() || it->second.asking) return;
    it->second.asking = true;
    client = it->second.client;
  }
  // The answer may come after the pool is gone.
  client->Info(options_.info_timeout,
               [weak = weak_from_this(), id](absl::StatusOr<v1::ServerInfo> info) {
                 if (auto pool = weak.lock()) pool->Answer(id, std::move(info));
               });
}

void ServerPool::Answer(ServerId id, absl::StatusOr<v1::ServerInfo> info) {
  Lost lost;
  {
    absl::MutexLock lock(&mu_);
    const auto it = servers_.find(id);
    if (it == servers_.end()) return;
    Server& server = it->second;
    server.asking = false;
    const auto [condition, reason] = Judge(id, info);
    if (info.ok()) {
      if (info->incarnation() != server.info.incarnation()) ForgetIncarnation(id, server);
      server.info = *std::move(info);
      Bound(&server.info);
    }
    SetCondition(server, condition, reason);
    if (condition == ServerCondition::kReady) {
      if (server.info.incarnation() != 0) incarnations_[server.info.incarnation()] = id;
      balancer_.Update(id, ReportOf(server.info));
    } else {
      balancer_.Suspend(id);
    }
    if (condition == ServerCondition::kUnreachable) lost = TakeLost(server);
  }
  for (const auto& tell : lost) tell();
}

std::pair<ServerCondition, std::string> ServerPool::Judge(
    ServerId id, const absl::StatusOr<v1::ServerInfo>& info) const {
  if (!info.ok()) {
    return {ServerCondition::kUnreachable, std::string(info.status().message())};
  }
  if (info->draining()) return {ServerCondition::kDraining, "is shutting down"};
  if (info->stalled()) return {ServerCondition::kStalled, "makes no progress"};
  const auto known = incarnations_.find(info->incarnation());
  if (known != incarnations_.end() && known->second != id) {
    const Server& other = servers_.at(known->second);
    if (other.condition == ServerCondition::kReady) {
      return {ServerCondition::kDuplicate, absl::StrCat("is the same server as ", other.address)};
    }
  }
  return {ServerCondition::kReady, ""};
}

void ServerPool::SetCondition(Server& server, ServerCondition condition, std::string reason) {
  if (server.condition != condition) {
    spdlog::info("server role={} address={} condition={} reason={}", ServerRoleName(server.role),
                 server.address, ServerConditionName(condition), LogValue(reason));
  }
  server.condition = condition;
  server.reason = std::move(reason);
}

void ServerPool::ForgetIncarnation(ServerId id, const Server& server) {
  const auto it = incarnations_.find(server.info.incarnation());
  if (it != incarnations_.end() && it->second == id) incarnations_.erase(it);
}

ServerPool::Lost ServerPool::TakeLost(Server& server) {
  Lost lost;
  for (Lease* lease : server.leases) {
    if (!lease->begun_ && lease->lost_) lost.push_back(std::exchange(lease->lost_, nullptr));
  }
  return lost;
}

void ServerPool::ReportUnreachable(ServerId decode, const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    const auto it = servers_.find(decode);
    if (it == servers_.end()) return;
    SetCondition(it->second, ServerCondition::kUnreachable, std::string(status.message()));
    balancer_.Suspend(decode);
  }
  Ask(decode);
}

// ---- Which one is next ----

absl::StatusOr<ServerPool::Pick> ServerPool::Choose(Query query) {
  const std::string key = query.identity ? IdentityKey(*query.identity) : std::string();
  absl::MutexLock lock(&mu_);
  if (closed_) return absl::UnavailableError("The gateway is shutting down.");
  if (!query.instead_of) {
    retries_.CountRequest(clock_->Now());
  } else if (!retries_.Spend(clock_->Now())) {
    return absl::ResourceExhaustedError("Too many requests are being retried.");
  }
  const std::optional<Route> route =
      balancer_.Choose(query.request, query.identity ? &key : nullptr, query.instead_of);
  if (!route) return absl::UnavailableError(ProblemLocked());
  Server& server = servers_.at(route->decode);
  Pick pick;
  pick.server = route->decode;
  pick.address = server.address;
  pick.client = std::shared_ptr<DecodeClient>(server.client, server.decode);
  pick.identity = server.info.identity();
  for (const ServerId id : route->prefill) {
    pick.prefill_addresses.push_back(servers_.at(id).address);
  }
  pick.lease = std::make_unique<Lease>(shared_from_this(), query.request, *route, server.client);
  pick.lease->lost_ = std::move(query.lost);
  server.leases.insert(pick.lease.get());
  return pick;
}

void ServerPool::BeginLease(Lease* lease) {
  absl::MutexLock lock(&mu_);
  if (std::exchange(lease->begun_, true)) return;
  balancer_.Release(lease->prefill_, Balancer::PrefillTokens(lease->request_));
}

void ServerPool::EndLease(Lease* lease) {
  absl::MutexLock lock(&mu_);
  if (!lease->begun_) {
    balancer_.Release(lease->prefill_, Balancer::PrefillTokens(lease->request_));
  }
  balancer_.Release(lease->decode_, Balancer::DecodeTokens(lease->request_));
  const auto it = servers_.find(lease->decode_);
  if (it != servers_.end()) it->second.leases.erase(lease);
}

void ServerPool::Close() {
  std::map<ServerId, Server> servers;  // they go when the lock is given up
  std::vector<std::shared_ptr<InfoClient>> retired;
  absl::MutexLock lock(&mu_);
  closed_ = true;
  servers.swap(servers_);
  retired.swap(retired_);
}

}  // namespace lynx
