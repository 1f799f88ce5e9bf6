#include "transfer/nccl_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "transfer/nccl_api.h"
#include "transfer/nccl_server_io.h"
#include "transfer/tcp_socket.h"

namespace lynx {
namespace {

constexpr Nanos kTick = std::chrono::milliseconds(100);  // timeouts are checked this often
constexpr int kFramesAtOnce = 64;                        // then the sessions get a turn

absl::Status StatusOf(HelloResult result) {
  // The words of the TCP channel's answers.
  return ParseHelloReply(EncodeHelloReply(result));
}

}  // namespace

absl::StatusOr<std::unique_ptr<NcclServer>> NcclServer::Start(const NcclServerOptions& options,
                                                              FrameSource* source) {
  RETURN_IF_ERROR(options.Validate());
  // Whether checksums are taken is for the receivers to say.
  ASSIGN_OR_RETURN(NcclMemory memory,
                   StartNccl(options.nccl, kNcclWarmUpBytes, /*checksums=*/true));
  ASSIGN_OR_RETURN(UniqueFd listener, ListenTcp(options.listen_host, options.port));
  ASSIGN_OR_RETURN(uint16_t port, LocalPort(listener.get()));
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Create());
  auto server = std::make_unique<NcclServerIo>(options, source, std::move(listener), port,
                                               std::move(loop), std::move(memory));
  RETURN_IF_ERROR(server->Run());
  return server;
}

NcclServerIo::NcclServerIo(const NcclServerOptions& options, FrameSource* source, UniqueFd listener,
                           uint16_t port, std::unique_ptr<EventLoop> loop, NcclMemory memory)
    : options_(options),
      source_(source),
      port_(port),
      loop_(std::move(loop)),
      desk_(options.incarnation, options.ticket_lifetime, options.max_sessions),
      listener_(std::move(listener)),
      memory_(std::move(memory)),
      sessions_(options.nccl, loop_.get(),
                [this](const NcclSession& session) { Down(session.id(), session.why(), true); }) {}

absl::Status NcclServerIo::Run() {
  RETURN_IF_ERROR(loop_->Add(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); }));
  source_->SetChannelWake([this] { loop_->Wake(); });
  thread_.Start([this] { return Loop(); });
  return absl::OkStatus();
}

NcclServerIo::~NcclServerIo() { (void)Close(); }

bool NcclServerIo::Close() {
  if (!thread_.started()) return true;
  source_->SetChannelWake(nullptr);
  stop_ = true;
  loop_->Wake();
  return thread_.End(options_.nccl);
}

absl::StatusOr<IssuedTicket> NcclServerIo::IssueTicket(uint64_t peer_incarnation) {
  absl::StatusOr<IssuedTicket> issued = desk_.IssueTicket(peer_incarnation, loop_->Now());
  loop_->Wake();  // to watch its expiry
  return issued;
}

void NcclServerIo::CloseSession(SessionId session) {
  desk_.CloseSession(session);
  loop_->Wake();
}

bool NcclServerIo::Loop() {
  (void)cudaSetDevice(options_.nccl.device);  // Start has tried it
  while (!stop_) {
    const Nanos now = loop_->Now();
    CloseAsked(now);
    EndLate(now);
    sessions_.StepAll(now);
    const std::optional<Nanos> ask_again_at = Pump();
    desk_.Count([&](DataServerStats& stats) {
      stats.sessions_up = sessions_.up();
      stats.sessions_stuck = sessions_.stuck();
    });
    loop_->RunOnce(NextWake(loop_->Now(), ask_again_at));
  }
  unknown_.clear();
  const bool clean = sessions_.AbortAll(absl::CancelledError("the server is closing"));
  if (!clean) new auto(std::move(memory_));  // the device still uses it
  return clean;
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
    const bool overload = unknown_.size() >= options_.max_unknown_connections;
    desk_.Count([&](DataServerStats& stats) {
      ++stats.accepted;
      stats.refused_overload += overload;
    });
    if (overload) continue;
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
  desk_.Count([](DataServerStats& stats) { ++stats.refused_strangers; });
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
  const uint32_t version = Nccl().version;
  if (hello->nccl_version != version) {
    return absl::FailedPreconditionError(absl::StrCat(
        "NCCL ", NcclVersionName(version), " at the sender, ", NcclVersionName(hello->nccl_version),
        " at the receiver: install the same on both"));
  }
  Hello presented{.ticket = hello->ticket,
                  .sender_incarnation = hello->sender_incarnation,
                  .receiver_incarnation = hello->receiver_incarnation};
  TicketRegistry::Admission admission;
  // One connection stands for both streams.
  for (Stream stream : {Stream::kAnchor, Stream::kResidual}) {
    presented.stream = stream;
    admission = desk_.Admit(presented, loop_->Now());
    RETURN_IF_ERROR(StatusOf(admission.result));
  }
  return admission.session;
}

void NcclServerIo::Greet(std::unique_ptr<Unknown> unknown, const NcclMessage& message) {
  NcclHello hello{};
  const absl::StatusOr<SessionId> id = Admit(message, &hello);
  if (!id.ok()) {
    (void)unknown->link.Send(MakeNcclFail(id.status()));
    desk_.Count([](DataServerStats& stats) { ++stats.refused_peers; });
    return;
  }
  const Nanos now = loop_->Now();
  bool evicted = false;
  absl::Status status;
  const auto retire = [this](SessionId idle) { return desk_.Retire(idle); };
  if (!sessions_.MakeRoom(now, retire, &evicted)) {
    status = absl::ResourceExhaustedError(absl::StrCat(
        "all ", options_.nccl.max_pairs, " pairs of communicators of the sender are in use"));
    (void)unknown->link.Send(MakeNcclFail(status));
  }
  desk_.Count([&](DataServerStats& stats) {
    stats.refused_peers += !status.ok();
    stats.sessions_evicted += evicted;
  });
  if (!status.ok()) return Down(*id, status, false);
  auto session = std::make_unique<NcclSendSession>(*id, options_.nccl, std::move(unknown->link),
                                                   hello, source_, memory_.scratch.data(),
                                                   memory_.checksums.get(), now);
  NcclSendSession* opened = session.get();
  status = sessions_.Add(std::move(session));
  if (!status.ok()) return Down(*id, status, false);
  status = opened->Open();
  if (!status.ok()) opened->Fail(status, now);
}

void NcclServerIo::Down(SessionId id, const absl::Status& why, bool was_known) {
  desk_.Forget(id);
  desk_.Count([&](DataServerStats& stats) { stats.sessions_lost += was_known; });
  source_->OnSession({id, false, why});
}

void NcclServerIo::CloseAsked(Nanos now) {
  const absl::Status why = absl::CancelledError("the session was closed");
  for (SessionId id : desk_.TakeToClose()) {
    if (NcclSession* session = sessions_.Find(id)) {
      session->Fail(why, now);
    } else if (!sessions_.Has(id)) {  // it never came; one that is failing tells of itself
      Down(id, why, false);
    }
  }
}

void NcclServerIo::EndLate(Nanos now) {
  if (std::exchange(accept_paused_, false)) loop_->SetEvents(listener_.get(), EPOLLIN);
  for (SessionId id : desk_.Expire(now)) {
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
  const bool pending = desk_.sessions() > sessions_.size();
  if (accept_paused_ || !unknown_.empty() || pending) consider(now + kTick);
  return wake;
}

}  // namespace lynx
