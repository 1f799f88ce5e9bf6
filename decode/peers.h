// The prefill servers that a decode server knows: joins each when it is first needed (and again
// when its data session was lost or it has forgotten us), and runs attempts on them.
//
// An attempt waits for its server's join, which all attempts share, then its run's stream starts.
// If the server answers that it does not know our ticket (it restarted, and we have not noticed
// yet), the attempt joins anew once.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "decode/engine.h"
#include "decode/name_resolver.h"
#include "decode/prefill_client.h"
#include "proto/call_count.h"
#include "runtime/measures.h"
#include "transfer/data_plane.h"
#include "transfer/lost_sessions.h"

namespace lynx::decode {

struct PeersOptions {
  v1::JoinRequest join;  // who we are, and our channel
  Nanos join_timeout = std::chrono::seconds(2);
  Nanos resolve_timeout = std::chrono::seconds(2);  // for a data host's name, behind the join
  NameResolver::Lookup lookup = ResolveHost;
};

// Threads: as PrefillPeers for the engine; streams and joins come back from any thread.
class Peers final : public PrefillPeers {
 public:
  // Everything given outlives the peers.
  Peers(const PeersOptions& options, PrefillClientFactory factory, DataClient& data,
        const Clock& clock);
  ~Peers() override;  // after Close

  // Before the engine's first step. The engine outlives the calls: Close.
  void Bind(Engine* engine) { engine_ = engine; }
  // Cancels everything and waits until nothing is told any more. After the engine has stopped.
  void Close();

  // Joins of prefill servers that went well and that did not. Any thread.
  const EventCount& joins() const { return joins_; }
  const EventCount& failed_joins() const { return failed_joins_; }

  void Start(AttemptId attempt, const std::string& address, v1::RunRequest request,
             Nanos deadline) override;
  void Send(AttemptId attempt, v1::DecodeToPrefill message) override;
  void Cancel(AttemptId attempt) override;
  void Distrust(AttemptId attempt) override;
  void SessionLost(SessionId session) override;

 private:
  struct Attempt;
  class Events;
  struct Session {
    SessionId id{};
    std::string ticket;
  };
  struct Peer {
    std::string address;
    std::shared_ptr<PrefillClient> client;
    std::optional<Session> session;
    bool joining = false;
    std::vector<std::shared_ptr<Attempt>> waiting;  // for the join
  };

  std::shared_ptr<Peer> PeerOf(const std::string& address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StartOrJoin(const std::shared_ptr<Attempt>& attempt);
  void Join(const std::shared_ptr<Peer>& peer);
  void OnJoined(std::shared_ptr<Peer> peer, const v1::JoinReply& reply);
  void Joined(std::shared_ptr<Peer> peer, const absl::StatusOr<Session>& session);
  absl::Status CompareChannel(const v1::JoinReply& reply) const;
  absl::StatusOr<Session> Dial(const v1::JoinReply& reply, std::vector<SocketAddress> addresses);
  void StartRun(const std::shared_ptr<Attempt>& attempt, const Session& session);
  void OnRunMessage(Attempt& attempt, v1::PrefillToDecode message);
  void OnRunDone(const std::shared_ptr<Attempt>& attempt, const absl::Status& status);
  void CloseSession(Peer& peer, SessionId session);
  void Rejoin(const std::shared_ptr<Attempt>& attempt, const Session& lost);
  bool MayRejoin(Attempt& attempt, const absl::Status& status);
  void End(Attempt& attempt, const absl::Status& status);

  const PeersOptions options_;
  const PrefillClientFactory factory_;
  DataClient& data_;
  const Clock& clock_;
  Engine* engine_ = nullptr;
  // Joins and runs that will still call back. A call lets go of its peer before it is no longer
  // counted: a peer's client must not go in its own callback.
  CallCount calls_;
  EventCount joins_, failed_joins_;

  absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::map<std::string, std::shared_ptr<Peer>> peers_ ABSL_GUARDED_BY(mu_);  // by address
  std::map<AttemptId, std::shared_ptr<Attempt>> attempts_ ABSL_GUARDED_BY(mu_);
  LostSessions lost_sessions_ ABSL_GUARDED_BY(mu_);  // one may end before its join is told of it

  NameResolver resolver_;
};

}  // namespace lynx::decode
