#include "decode/peers.h"

#include <algorithm>
#include <charconv>

namespace lynx::decode {
namespace {

// Servers come and go under new addresses; those that are not in use are forgotten above this.
constexpr size_t kPeersKept = 1024;

struct HostPort {
  std::string host;
  uint16_t port = 0;
};

// "host:port", "[v6]:port", ":port".
absl::StatusOr<HostPort> SplitHostPort(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("no port in the address '", address, "'"));
  }
  HostPort out{.host = address.substr(0, colon)};
  const char* begin = address.data() + colon + 1;
  const char* end = address.data() + address.size();
  const auto [rest, error] = std::from_chars(begin, end, out.port);
  if (error != std::errc() || rest != end || out.port == 0) {
    return absl::InvalidArgumentError(absl::StrCat("a wrong port in the address '", address, "'"));
  }
  if (out.host.size() >= 2 && out.host.front() == '[' && out.host.back() == ']') {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  return out;
}

// Where the server that was joined at `joined` wants its data connections.
absl::StatusOr<HostPort> DataAddress(const std::string& joined, const v1::JoinReply& reply) {
  ASSIGN_OR_RETURN(HostPort data, SplitHostPort(reply.data_address()));
  if (!data.host.empty()) return data;
  ASSIGN_OR_RETURN(const HostPort control, SplitHostPort(joined));
  data.host = control.host;
  return data;
}

// A call that somebody else ended says nothing of the request: another server may do better.
absl::Status AsServerFailure(const absl::Status& status) {
  if (absl::IsCancelled(status) || absl::IsUnauthenticated(status)) {
    return absl::UnavailableError(status.message());
  }
  return status;
}

}  // namespace

struct Peers::Attempt {
  AttemptId id{};
  std::shared_ptr<Peer> peer;
  v1::RunRequest request;  // kept until the server has answered, for a second try
  Nanos deadline{0};
  // Used by the run's callbacks, one at a time, and before it starts.
  bool rejoined = false;
  bool answered = false;
  Session session;                    // of the run
  SessionHold hold;                   // of that session, until the attempt's end
  std::shared_ptr<RunStream> stream;  // guarded by the peers' lock
};

class Peers::Events final : public RunEvents {
 public:
  Events(Peers& peers, std::shared_ptr<Attempt> attempt)
      : peers_(peers), attempt_(std::move(attempt)) {}
  void OnMessage(v1::PrefillToDecode message) override {
    peers_.OnRunMessage(*attempt_, std::move(message));
  }
  void OnDone(const absl::Status& status) override {
    peers_.OnRunDone(attempt_, status);
    attempt_.reset();
    peers_.calls_.Remove();
  }

 private:
  Peers& peers_;
  std::shared_ptr<Attempt> attempt_;
};

Peers::Peers(const PeersOptions& options, PrefillClientFactory factory, DataClient& data,
             const Clock& clock)
    : options_(options),
      factory_(std::move(factory)),
      data_(data),
      clock_(clock),
      resolver_(options.resolve_timeout, options.lookup) {}

Peers::~Peers() = default;

void Peers::Close() {
  std::vector<std::shared_ptr<RunStream>> streams;
  {
    absl::MutexLock lock(&mu_);
    closed_ = true;
    for (auto& [id, attempt] : attempts_) {
      if (attempt->stream != nullptr) streams.push_back(attempt->stream);
    }
    attempts_.clear();
  }
  for (auto& stream : streams) stream->Cancel();
  calls_.WaitForNone();
}

void Peers::Start(AttemptId id, const std::string& address, v1::RunRequest request,
                  Nanos deadline) {
  auto attempt = std::make_shared<Attempt>();
  attempt->id = id;
  attempt->request = std::move(request);
  attempt->deadline = deadline;
  {
    absl::MutexLock lock(&mu_);
    if (closed_) return;
    attempt->peer = PeerOf(address);
    attempts_[id] = attempt;
  }
  StartOrJoin(attempt);
}

void Peers::Send(AttemptId id, v1::DecodeToPrefill message) {
  std::shared_ptr<RunStream> stream;
  {
    absl::MutexLock lock(&mu_);
    auto it = attempts_.find(id);
    if (it != attempts_.end()) stream = it->second->stream;
  }
  if (stream == nullptr) return;  // it has ended, and the engine is about to hear of it
  const bool last = message.done();
  stream->Send(std::move(message));
  if (last) stream->CloseSending();
}

void Peers::Cancel(AttemptId id) {
  std::shared_ptr<RunStream> stream;
  {
    absl::MutexLock lock(&mu_);
    auto it = attempts_.find(id);
    if (it == attempts_.end()) return;
    stream = it->second->stream;
    attempts_.erase(it);
  }
  if (stream != nullptr) stream->Cancel();
}

void Peers::Distrust(AttemptId id) {
  std::shared_ptr<Attempt> attempt;
  SessionId session{};
  {
    absl::MutexLock lock(&mu_);
    auto it = attempts_.find(id);
    if (it == attempts_.end()) return;
    attempt = it->second;
    session = attempt->session.id;
  }
  CloseSession(*attempt->peer, session);
}

// The next attempt joins anew.
void Peers::CloseSession(Peer& peer, SessionId session) {
  {
    absl::MutexLock lock(&mu_);
    if (peer.session && peer.session->id == session) peer.session.reset();
  }
  data_.CloseSession(session);
}

void Peers::SessionLost(SessionId session) {
  absl::MutexLock lock(&mu_);
  lost_sessions_.Add(session);
  for (auto& [address, peer] : peers_) {
    if (peer->session && peer->session->id == session) peer->session.reset();
  }
}

std::shared_ptr<Peers::Peer> Peers::PeerOf(const std::string& address) {
  if (peers_.size() >= kPeersKept && !peers_.contains(address)) {
    std::erase_if(peers_, [](const auto& entry) {
      const Peer& peer = *entry.second;
      // A run that is still open holds its peer.
      return entry.second.use_count() == 1 && !peer.session && !peer.joining &&
             peer.waiting.empty();
    });
  }
  std::shared_ptr<Peer>& peer = peers_[address];
  if (peer == nullptr) {
    peer = std::make_shared<Peer>();
    peer->address = address;
    peer->client = factory_(address);
  }
  return peer;
}

void Peers::StartOrJoin(const std::shared_ptr<Attempt>& attempt) {
  const std::shared_ptr<Peer> peer = attempt->peer;
  std::optional<Session> session;
  {
    absl::MutexLock lock(&mu_);
    session = peer->session;
    if (!session) {
      peer->waiting.push_back(attempt);
      if (std::exchange(peer->joining, true)) return;
    }
  }
  if (session) {
    StartRun(attempt, *session);
  } else {
    Join(peer);
  }
}

void Peers::Join(const std::shared_ptr<Peer>& peer) {
  calls_.Add();
  peer->client->Join(options_.join, options_.join_timeout,
                     [this, peer = peer](absl::StatusOr<v1::JoinReply> reply) mutable {
                       if (reply.ok()) return OnJoined(std::move(peer), *reply);
                       absl::Status status = AsServerFailure(reply.status());
                       if (absl::IsDeadlineExceeded(status)) {
                         status = absl::UnavailableError("the server did not answer the join");
                       }
                       Joined(std::move(peer), Annotate(status, "joining"));
                     });
}

void Peers::OnJoined(std::shared_ptr<Peer> peer, const v1::JoinReply& reply) {
  const absl::StatusOr<HostPort> data = DataAddress(peer->address, reply);
  if (!data.ok()) return Joined(std::move(peer), data.status());
  resolver_.Resolve(
      data->host, data->port,
      [this, peer = std::move(peer), reply](NameResolver::Addresses addresses) mutable {
        Joined(std::move(peer),
               addresses.ok() ? Dial(reply, *std::move(addresses)) : addresses.status());
      });
}

// A prefill server that does not compare, because it is of a version that knew TCP alone.
absl::Status Peers::CompareChannel(const v1::JoinReply& reply) const {
  const auto channel_of = [](const std::string& said) {
    return said.empty() ? std::string(ChannelName(ChannelKind::kTcp)) : said;
  };
  const std::string ours = channel_of(options_.join.channel());
  const std::string theirs = channel_of(reply.channel());
  if (ours == theirs) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "KV would travel over different channels: the decode server's is ", ours,
      ", the prefill server's is ", theirs, ": set transfer.channel to the same on both"));
}

absl::StatusOr<Peers::Session> Peers::Dial(const v1::JoinReply& reply,
                                           std::vector<SocketAddress> addresses) {
  RETURN_IF_ERROR(CompareChannel(reply));
  DialRequest request;
  request.addresses = std::move(addresses);
  request.sender_incarnation = reply.incarnation();
  if (reply.ticket().size() != request.ticket.size()) {
    return absl::InternalError("the prefill server gave a ticket of a wrong size");
  }
  std::copy(reply.ticket().begin(), reply.ticket().end(), request.ticket.begin());
  ASSIGN_OR_RETURN(const SessionId id, data_.Dial(request));
  return Session{id, reply.ticket()};
}

void Peers::Joined(std::shared_ptr<Peer> peer, const absl::StatusOr<Session>& session) {
  absl::Status status = session.status();
  std::vector<std::shared_ptr<Attempt>> waiting;
  {
    absl::MutexLock lock(&mu_);
    peer->joining = false;
    waiting.swap(peer->waiting);
    if (status.ok() && lost_sessions_.Contains(session->id)) {
      status = absl::UnavailableError("the data connection was lost while joining");
    }
    if (status.ok()) peer->session = *session;
    (status.ok() ? joins_ : failed_joins_).Add();
  }
  for (const std::shared_ptr<Attempt>& attempt : waiting) {
    if (status.ok()) {
      StartRun(attempt, *session);
    } else {
      End(*attempt, status);
    }
  }
  waiting.clear();
  peer.reset();
  calls_.Remove();
}

// Its session gave way to another one, and the engine has not told of it yet.
void Peers::Rejoin(const std::shared_ptr<Attempt>& attempt, const Session& lost) {
  {
    absl::MutexLock lock(&mu_);
    std::optional<Session>& session = attempt->peer->session;
    if (session && session->id == lost.id) session.reset();
  }
  if (!std::exchange(attempt->rejoined, true)) return StartOrJoin(attempt);
  End(*attempt, absl::UnavailableError("the data connection was lost"));
}

void Peers::StartRun(const std::shared_ptr<Attempt>& attempt, const Session& session) {
  SessionHold hold = data_.HoldSession(session.id);
  if (hold == nullptr) return Rejoin(attempt, session);
  std::shared_ptr<RunStream> stream;
  {
    absl::MutexLock lock(&mu_);
    if (!attempts_.contains(attempt->id)) return;  // cancelled meanwhile
    attempt->session = session;
    attempt->hold = std::move(hold);
    v1::RunRequest request = attempt->request;
    request.set_ticket(session.ticket);
    stream = attempt->peer->client->NewRun(std::move(request), attempt->deadline - clock_.Now(),
                                           std::make_shared<Events>(*this, attempt));
    attempt->stream = stream;
    calls_.Add();
  }
  engine_->OnAttemptStarted(attempt->id, session.id);
  stream->Start();
}

void Peers::OnRunMessage(Attempt& attempt, v1::PrefillToDecode message) {
  if (!std::exchange(attempt.answered, true)) attempt.request.Clear();
  {
    absl::MutexLock lock(&mu_);
    if (!attempts_.contains(attempt.id)) return;
  }
  engine_->OnPrefillMessage(attempt.id, std::move(message));
}

void Peers::OnRunDone(const std::shared_ptr<Attempt>& attempt, const absl::Status& status) {
  if (MayRejoin(*attempt, status)) return StartOrJoin(attempt);
  End(*attempt, AsServerFailure(status));
}

// The server does not know the ticket, and had not said so before: the session is of no use.
bool Peers::MayRejoin(Attempt& attempt, const absl::Status& status) {
  if (!absl::IsUnauthenticated(status) || attempt.answered) return false;
  {
    absl::MutexLock lock(&mu_);
    attempt.stream = nullptr;
    attempt.hold = nullptr;
  }
  // The attempt outlives this session: its end must not be taken for the attempt's.
  engine_->OnAttemptStarted(attempt.id, SessionId{});
  CloseSession(*attempt.peer, attempt.session.id);
  return !std::exchange(attempt.rejoined, true);
}

void Peers::End(Attempt& attempt, const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    attempt.stream = nullptr;
    if (attempts_.erase(attempt.id) == 0) return;  // cancelled: silence
  }
  engine_->OnAttemptEnded(attempt.id, status);
}

}  // namespace lynx::decode
