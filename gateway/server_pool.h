// The decode and prefill servers that the gateway knows, how they are, and which one comes next.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "gateway/decode_client.h"
#include "gateway/options.h"

namespace lynx {

// What is known of the servers taken together.
struct PoolState {
  int64_t decode_ready = 0;  // reachable, with a reachable prefill server of the same identity
  int64_t decode_total = 0;
  int64_t prefill_ready = 0;
  std::string model_name;   // of a ready decode server; empty if there is none
  int64_t max_context = 0;  // the smallest of the ready ones
  int64_t requests_running = 0, requests_waiting = 0;       // as the decode servers reported
  int64_t pages_total = 0, pages_free = 0;                  // of the ready decode servers
  int64_t prefill_pages_total = 0, prefill_pages_free = 0;  // of the reachable prefill servers
  std::string problem;  // of a server that is not ready; for messages
};

class ServerPool : public std::enable_shared_from_this<ServerPool> {
 public:
  // A decode server to use once; its load counts until this goes.
  struct Pick {
    size_t index = 0;
    std::shared_ptr<DecodeClient> client;
    v1::Identity identity;
    std::vector<std::string> prefill_addresses;  // of the same identity, least loaded first
    std::shared_ptr<void> lease;
  };

  static std::shared_ptr<ServerPool> Create(PoolOptions options,
                                            std::vector<std::shared_ptr<DecodeClient>> decode,
                                            std::vector<std::shared_ptr<InfoClient>> prefill);

  // Asks every server that has no question outstanding. Call it every options.info_interval.
  void Poll();

  // The least loaded ready decode server, not `exclude`, of `identity` if given. UNAVAILABLE: none.
  absl::StatusOr<Pick> Choose(const std::optional<v1::Identity>& identity,
                              std::optional<size_t> exclude);

  // The server did not answer a call: it is left out until it answers Poll again.
  void ReportUnreachable(size_t decode_index, const absl::Status& status);

  PoolState State() const;

  // Lets go of the clients, which may wait for their calls. From here on no server is known. The
  // pool itself may go in an answer, on a client's thread, where no client may.
  void Close();

 private:
  struct Server {
    std::shared_ptr<InfoClient> client;
    bool asking = false;
    bool reachable = false;
    v1::ServerInfo info;
    std::string problem = "not asked yet";
    int64_t in_flight = 0;  // from this gateway
  };

  ServerPool(PoolOptions options, std::vector<std::shared_ptr<DecodeClient>> decode,
             std::vector<std::shared_ptr<InfoClient>> prefill);

  void Ask(std::vector<Server> ServerPool::*group, size_t index);
  void Answer(std::vector<Server> ServerPool::*group, size_t index,
              absl::StatusOr<v1::ServerInfo> info);
  bool ReadyLocked(const Server& decode) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<std::string> PrefillsLocked(const v1::Identity& identity) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string ProblemLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const PoolOptions options_;

  mutable absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::shared_ptr<DecodeClient>> decode_clients_ ABSL_GUARDED_BY(mu_);
  std::vector<Server> decode_ ABSL_GUARDED_BY(mu_);
  std::vector<Server> prefill_ ABSL_GUARDED_BY(mu_);
  size_t last_pick_ ABSL_GUARDED_BY(mu_) = 0;
};

bool SameIdentity(const v1::Identity& a, const v1::Identity& b);

}  // namespace lynx
