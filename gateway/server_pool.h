// The decode and prefill servers that the gateway knows, how they are, and which ones come next.
//
// Servers come and go (SetServers). Each is asked how it is again and again; one that does not
// answer in time, drains, or makes no progress gets nothing new until it says otherwise. What is
// under way on a server that leaves goes on; what had no token yet on one that does not answer is
// told (Query::lost), so that it can be asked for elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "gateway/balancer.h"
#include "gateway/decode_client.h"
#include "gateway/options.h"
#include "gateway/retry_budget.h"
#include "runtime/clock.h"

namespace lynx {

// What is known of the servers taken together.
struct PoolState {
  int64_t decode_ready = 0;  // in rotation, with a prefill server of the same identity
  int64_t decode_total = 0;
  int64_t prefill_ready = 0;  // in rotation
  std::string model_name;     // of a ready decode server; empty if there is none
  int64_t max_context = 0;    // the smallest of the ready ones
  int64_t requests_running = 0, requests_waiting = 0;       // as the decode servers reported
  int64_t pages_total = 0, pages_free = 0;                  // of the ready decode servers
  int64_t prefill_pages_total = 0, prefill_pages_free = 0;  // of the prefill servers in rotation
  std::string problem;  // why no decode server is ready; for messages
};

enum class ServerCondition { kUnknown, kReady, kDraining, kStalled, kUnreachable, kDuplicate };
const char* ServerRoleName(ServerRole role);  // "decode", "prefill"
const char* ServerConditionName(ServerCondition condition);

// One server, for those who watch. Figures are the last that it told.
struct ServerSnapshot {
  std::string address;
  ServerRole role = ServerRole::kDecode;
  ServerCondition condition = ServerCondition::kUnknown;
  std::string reason;   // why it is not ready
  bool paired = false;  // in rotation beside a server of the other role
  int64_t requests_running = 0, requests_waiting = 0;
  int64_t tokens_outstanding = 0;  // as routing counts them
  int64_t pages_total = 0, pages_free = 0;
  std::string identity;  // IdentityFingerprint
};

// A short name of what a server computes, equal for equal identities.
std::string IdentityFingerprint(const v1::Identity& identity);

// Threads: any, but where it says otherwise.
class ServerPool : public std::enable_shared_from_this<ServerPool> {
 public:
  // A request's place on the servers that were chosen for it. Its tokens count until it goes; the
  // decode server's client stays at least as long. Thread: its owner's.
  class Lease {
   public:
    Lease(std::shared_ptr<ServerPool> pool, const RouteRequest& request, const Route& route,
          std::shared_ptr<InfoClient> client)
        : pool_(std::move(pool)),
          request_(request),
          decode_(route.decode),
          prefill_(route.prefill.front()),
          client_(std::move(client)) {}
    ~Lease() { pool_->EndLease(this); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    // The first token is there: the prompt is computed, and `lost` is not called any more.
    void Begun() { pool_->BeginLease(this); }

   private:
    friend class ServerPool;
    const std::shared_ptr<ServerPool> pool_;
    const RouteRequest request_;
    const ServerId decode_, prefill_;
    const std::shared_ptr<InfoClient> client_;
    bool begun_ = false;            // guarded by the pool's lock, as is:
    std::function<void()> lost_{};  // empty: was called
  };

  struct Query {
    RouteRequest request = {};
    std::optional<v1::Identity> identity = {};  // the servers must have it
    std::optional<ServerId> instead_of = {};    // a retry: another decode server than this
    // Called once at most, on any thread and under no lock, if the decode server is found not to
    // answer before Begun. It may be called when the lease has just gone.
    std::function<void()> lost = {};
  };
  // A decode server to use once.
  struct Pick {
    ServerId server{};
    std::string address;
    std::shared_ptr<DecodeClient> client;
    v1::Identity identity;
    std::vector<std::string> prefill_addresses;  // of the same identity, best first
    std::unique_ptr<Lease> lease;
  };

  // `clock` outlives the pool.
  static std::shared_ptr<ServerPool> Create(const PoolOptions& options, ServerClients clients,
                                            const Clock* clock);

  // These are the servers of `role` from now on; `problem` says why there may be too few (a name
  // that does not resolve). New ones are asked at once. One call at a time for each role.
  void SetServers(ServerRole role, const std::vector<std::string>& addresses, std::string problem);

  // Asks every server of one of `parts` parts that has no question outstanding. Call it for all
  // parts every options.info_interval.
  void Poll(uint64_t part = 0, uint64_t parts = 1);

  // UNAVAILABLE: no server. RESOURCE_EXHAUSTED: too many retries.
  absl::StatusOr<Pick> Choose(Query query);

  // The server failed a call as if it were gone: it is asked at once, and left out until it
  // answers.
  void ReportUnreachable(ServerId decode, const absl::Status& status);

  PoolState State() const;
  std::vector<ServerSnapshot> Servers() const;  // by role and address

  // Lets go of the clients, which may wait for their calls. From here on no server is known. The
  // pool itself may go in an answer, on a client's thread, where no client may.
  void Close();

 private:
  struct Server {
    ServerRole role = ServerRole::kDecode;
    std::string address;
    std::shared_ptr<InfoClient> client;
    DecodeClient* decode = nullptr;  // the same client, of a decode server
    bool asking = false;
    ServerCondition condition = ServerCondition::kUnknown;
    std::string reason = "has not answered yet";
    v1::ServerInfo info;
    std::set<Lease*> leases;  // of requests that it decodes
  };
  using Lost = std::vector<std::function<void()>>;

  ServerPool(const PoolOptions& options, ServerClients clients, const Clock* clock);

  // Lets go of servers that are not in `addresses`; the rest of `addresses` is new.
  std::set<std::string> Retire(ServerRole role, std::set<std::string> addresses)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ServerId Add(ServerRole role, const std::string& address);
  void Ask(ServerId id);
  void Answer(ServerId id, absl::StatusOr<v1::ServerInfo> info);
  std::pair<ServerCondition, std::string> Judge(ServerId id,
                                                const absl::StatusOr<v1::ServerInfo>& info) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetCondition(Server& server, ServerCondition condition, std::string reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetIncarnation(ServerId id, const Server& server) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Lost TakeLost(Server& server) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BeginLease(Lease* lease);
  void EndLease(Lease* lease);
  std::string ProblemLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string ProblemLocked(ServerRole role) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const PoolOptions options_;
  const ServerClients clients_;
  const Clock* const clock_;

  mutable absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  Balancer balancer_ ABSL_GUARDED_BY(mu_);
  RetryBudget retries_ ABSL_GUARDED_BY(mu_);
  std::map<ServerId, Server> servers_ ABSL_GUARDED_BY(mu_);
  // Whom a process is known as, by its incarnation: a name may give two addresses for one server.
  std::map<uint64_t, ServerId> incarnations_ ABSL_GUARDED_BY(mu_);
  std::string name_problems_[2] ABSL_GUARDED_BY(mu_);  // [role]
  // Of servers that left, until nobody else holds them: a client must not go on a thread of its
  // own calls.
  std::vector<std::shared_ptr<InfoClient>> retired_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
