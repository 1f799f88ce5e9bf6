#include "transfer/nccl_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "transfer/nccl_server_io.h"
#include "transfer/tcp_socket.h"

namespace lynx {
namespace {

constexpr Nanos kTick = std::chrono::milliseconds(100);  // timeouts are checked this often
constexpr int kFramesAtOnce = 64;                        // then the sessions get a turn

absl::Status ValidateOptions(const NcclServerOptions& options) {
  RETURN_IF_ERROR(options.nccl.Validate());
  if (options.incarnation == 0) return absl::InvalidArgumentError("incarnation 0 is not valid");
  if (options.ticket_lifetime <= Nanos(0) || options.stalled_after <= Nanos(0)) {
    return absl::InvalidArgumentError("ticket_lifetime and stalled_after must be positive");
  }
  if (options.max_sessions == 0 || options.max_unknown_connections == 0) {
    return absl::InvalidArgumentError("limits on sessions and connections must be positive");
  }
  return absl::OkStatus();
}

absl::Status StatusOf(HelloResult result) {
  // The words of the TCP channel's answers.
  return ParseHelloReply(EncodeHelloReply(result));
}

}  // namespace

absl::StatusOr<std::unique_ptr<NcclServer>> NcclServer::Start(const NcclServerOptions& options,
                                                              FrameSource* source) {
  RETURN_IF_ERROR(ValidateOptions(options));
  ASSIGN_OR_RETURN(auto scratch, StartNccl(options.nccl, kNcclWarmUpBytes));
  ASSIGN_OR_RETURN(UniqueFd listener, ListenTcp(options.listen_host, options.port));
  ASSIGN_OR_RETURN(uint16_t port, LocalPort(listener.get()));
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Create());
  auto server = std::make_unique<NcclServerIo>(options, source, std::move(listener), port,
                                               std::move(loop), std::move(scratch));
  RETURN_IF_ERROR(server->Run());
  return server;
}

NcclServerIo::NcclServerIo(const NcclServerOptions& options, FrameSource* source, UniqueFd listener,
                           uint16_t port, std::unique_ptr<EventLoop> loop,
                           cuda::DeviceBuffer<std::byte> scratch)
    : options_(options),
      source_(source),
      port_(port),
      loop_(std::move(loop)),
      listener_(std::move(listener)),
      scratch_(std::move(scratch)),
      sessions_(options.nccl, loop_.get(),
                [this](const NcclSession& session) { Down(session.id(), session.why(), true); }),
      registry_(options.incarnation, options.ticket_lifetime, options.max_sessions) {}

absl::Status NcclServerIo::Run() {
  RETURN_IF_ERROR(loop_->Add(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); }));
  source_->SetChannelWake([this] { loop_->Wake(); });
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

NcclServerIo::~NcclServerIo() {
  if (!thread_.joinable()) return;
  source_->SetChannelWake(nullptr);
  stop_ = true;
  loop_->Wake();
  thread_.join();
}

absl::StatusOr<IssuedTicket> NcclServerIo::IssueTicket(uint64_t peer_incarnation) {
  absl::StatusOr<IssuedTicket> issued;
  {
    absl::MutexLock lock(&mu_);
    issued = registry_.Issue(peer_incarnation, loop_->Now());
  }
  loop_->Wake();  // to watch its expiry
  return issued;
}

absl::StatusOr<SessionId> NcclServerIo::FindSession(const Ticket& ticket) const {
  absl::MutexLock lock(&mu_);
  return registry_.Find(ticket);
}

void NcclServerIo::CloseSession(SessionId session) {
  {
    absl::MutexLock lock(&mu_);
    to_close_.push_back(session);
  }
  loop_->Wake();
}

NcclServerStats NcclServerIo::stats() const {
  absl::MutexLock lock(&mu_);
  return stats_;
}

void NcclServerIo::Loop() {
  (void)cudaSetDevice(options_.nccl.device);  // Start has tried it
  while (!stop_) {
    const Nanos now = loop_->Now();
    CloseAsked(now);
    EndLate(now);
    sessions_.StepAll(now);
    const std::optional<Nanos> ask_again_at = Pump();
    {
      absl::MutexLock lock(&mu_);
      stats_.sessions_up = sessions_.up();
      stats_.sessions_stuck = sessions_.stuck();
    }
    loop_->RunOnce(NextWake(loop_->Now(), ask_again_at));
  }
  unknown_.clear();
  if (!sessions_.AbortAll(absl::CancelledError("the server is closing"))) {
    new auto(std::move(scratch_));  // the device still uses it
  }
}

void NcclServerIo::Accept() {
  while (true) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      // Out of descriptors: the listener would stay readable and this thread spin.
      accept_paused_ = errno == EMFILE || errno == ENFILE;
      if (accept_paused_) loop_->SetEvents(listener_.get(), 0);
      return;
    }
    absl::MutexLock lock(&mu_);
    ++stats_.accepted;
    if (unknown_.size() >= options_.max_unknown_connections) {
      ++stats_.refused_overload;
      continue;
    }
    const int raw = fd.get();
    const TcpOptions tcp{.dead_peer_timeout = options_.nccl.dead_peer_timeout};
    if (!SetDataOptions(raw, tcp).ok() ||
        !loop_->Add(raw, EPOLLIN, [this, raw](uint32_t) { OnUnknown(raw); }).ok()) {
      continue;
    }
    unknown_[raw] = std::make_unique<Unknown>(
        Unknown{NcclLink(std::move(fd)), loop_->Now() + options_.nccl.handshake_timeout});
  }
}

void NcclServerIo::Stranger(int fd) {
  loop_->Remove(fd);
  unknown_.erase(fd);
  absl::MutexLock lock(&mu_);
  ++stats_.refused_strangers;
}

void NcclServerIo::OnUnknown(int fd) {
  Unknown& unknown = *unknown_.at(fd);
  const absl::Status received = unknown.link.Receive();
  const absl::StatusOr<std::optional<NcclMessage>> message = unknown.link.Next();
  if (!message.ok()) return Stranger(fd);
  if (!*message) {
    if (!received.ok()) Stranger(fd);
    return;
  }
  loop_->Remove(fd);
  std::unique_ptr<Unknown> owned = std::move(unknown_.at(fd));
  unknown_.erase(fd);
  Greet(std::move(owned), **message);
}

// Everything that a peer must show before it costs us device memory.
absl::StatusOr<SessionId> NcclServerIo::Admit(const NcclMessage& message, NcclHello* hello) {
  ASSIGN_OR_RETURN(*hello, ParseNcclHello(message));
  ASSIGN_OR_RETURN(const uint32_t version, NcclVersion());
  if (hello->nccl_version != version) {
    return absl::FailedPreconditionError(absl::StrCat(
        "NCCL ", NcclVersionName(version), " at the sender, ", NcclVersionName(hello->nccl_version),
        " at the receiver: install the same on both"));
  }
  Hello presented{.ticket = hello->ticket,
                  .sender_incarnation = hello->sender_incarnation,
                  .receiver_incarnation = hello->receiver_incarnation};
  absl::MutexLock lock(&mu_);
  TicketRegistry::Admission admission;
  // One connection stands for both streams.
  for (Stream stream : {Stream::kAnchor, Stream::kResidual}) {
    presented.stream = stream;
    admission = registry_.Admit(presented, loop_->Now());
    RETURN_IF_ERROR(StatusOf(admission.result));
  }
  return admission.session;
}

void NcclServerIo::Greet(std::unique_ptr<Unknown> unknown, const NcclMessage& message) {
  NcclHello hello{};
  const absl::StatusOr<SessionId> id = Admit(message, &hello);
  if (!id.ok()) {
    (void)unknown->link.Send(MakeNcclFail(id.status()));
    absl::MutexLock lock(&mu_);
    ++stats_.refused_peers;
    return;
  }
  const Nanos now = loop_->Now();
  bool evicted = false;
  absl::Status status;
  if (!sessions_.MakeRoom(now, &evicted)) {
    status = absl::ResourceExhaustedError(absl::StrCat(
        "all ", options_.nccl.max_pairs, " pairs of communicators of the sender are in use"));
    (void)unknown->link.Send(MakeNcclFail(status));
    absl::MutexLock lock(&mu_);
    ++stats_.refused_peers;
  }
  if (evicted) {
    absl::MutexLock lock(&mu_);
    ++stats_.sessions_evicted;
  }
  if (!status.ok()) return Down(*id, status, false);
  auto session = std::make_unique<NcclSendSession>(*id, options_.nccl, std::move(unknown->link),
                                                   hello, source_, scratch_.data(), now);
  NcclSendSession* opened = session.get();
  status = sessions_.Add(std::move(session));
  if (!status.ok()) return Down(*id, status, false);
  status = opened->Open();
  if (!status.ok()) opened->Fail(status, now);
}

void NcclServerIo::Down(SessionId id, const absl::Status& why, bool was_known) {
  {
    absl::MutexLock lock(&mu_);
    registry_.Forget(id);
    stats_.sessions_lost += was_known;
  }
  source_->OnSession({id, false, why});
}

void NcclServerIo::CloseAsked(Nanos now) {
  std::vector<SessionId> never_came;
  std::vector<SessionId> close;
  {
    absl::MutexLock lock(&mu_);
    close = std::exchange(to_close_, {});
    for (SessionId id : close) {
      if (registry_.Has(id) && sessions_.Find(id) == nullptr) never_came.push_back(id);
    }
  }
  const absl::Status why = absl::CancelledError("the session was closed");
  for (SessionId id : close) {
    if (NcclSession* session = sessions_.Find(id)) session->Fail(why, now);
  }
  std::sort(never_came.begin(), never_came.end());
  never_came.erase(std::unique(never_came.begin(), never_came.end()), never_came.end());
  for (SessionId id : never_came) {
    if (!sessions_.Has(id)) Down(id, why, false);  // one that is failing tells of itself
  }
}

void NcclServerIo::EndLate(Nanos now) {
  if (std::exchange(accept_paused_, false)) loop_->SetEvents(listener_.get(), EPOLLIN);
  std::vector<SessionId> expired;
  {
    absl::MutexLock lock(&mu_);
    expired = registry_.Expire(now);
  }
  for (SessionId id : expired) {
    Down(id, absl::DeadlineExceededError("the receiver did not connect in time"), false);
  }
  std::vector<int> silent;
  for (const auto& [fd, unknown] : unknown_) {
    if (now >= unknown->deadline) silent.push_back(fd);
  }
  for (int fd : silent) Stranger(fd);
}

std::optional<Nanos> NcclServerIo::Pump() {
  for (int i = 0; i < kFramesAtOnce; ++i) {
    const Nanos now = loop_->Now();
    auto readiness = [&](SessionId id, Stream stream) {
      NcclSession* session = sessions_.Find(id);
      if (session == nullptr) return Readiness::kStalled;
      return static_cast<NcclSendSession*>(session)->ReadinessAt(stream, now,
                                                                 options_.stalled_after);
    };
    SendPick pick = source_->NextFrame(now, readiness);
    if (!pick.frame) return pick.ask_again_at;
    auto* session = static_cast<NcclSendSession*>(sessions_.Find(pick.frame->session));
    session->SendFrame(std::move(*pick.frame), now);
  }
  return loop_->Now();
}

std::optional<Nanos> NcclServerIo::NextWake(Nanos now, std::optional<Nanos> ask_again_at) const {
  std::optional<Nanos> wake = ask_again_at;
  auto consider = [&](Nanos at) { wake = wake ? std::min(*wake, at) : at; };
  const std::optional<Nanos> step = sessions_.NextStep(now);
  if (step) consider(*step);
  absl::MutexLock lock(&mu_);
  const bool pending = registry_.sessions() > sessions_.size();
  if (accept_paused_ || !unknown_.empty() || pending) consider(now + kTick);
  return wake;
}

}  // namespace lynx
