#include "transfer/tcp_server.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transfer/tcp_server_io.h"

namespace lynx {
namespace {

constexpr Nanos kTick = std::chrono::milliseconds(100);  // timeouts are checked this often
constexpr Nanos kDeliveryPoll =
    std::chrono::microseconds(500);  // no event tells of an acknowledgement
constexpr Nanos kMeasureEvery = std::chrono::milliseconds(10);
constexpr int kFramesAtOnce = 64;  // then other events get a turn

}  // namespace

absl::StatusOr<std::unique_ptr<TcpServer>> TcpServer::Start(const TcpServerOptions& options,
                                                            FrameSource* source) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(UniqueFd listener, ListenTcp(options.listen_host, options.port));
  ASSIGN_OR_RETURN(uint16_t port, LocalPort(listener.get()));
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Create());
  auto server =
      std::make_unique<TcpServerIo>(options, source, std::move(listener), port, std::move(loop));
  RETURN_IF_ERROR(server->Run());
  return server;
}

TcpServerIo::TcpServerIo(const TcpServerOptions& options, FrameSource* source, UniqueFd listener,
                         uint16_t port, std::unique_ptr<EventLoop> loop)
    : options_(options),
      source_(source),
      port_(port),
      loop_(std::move(loop)),
      desk_(options.incarnation, options.ticket_lifetime, options.max_sessions),
      listener_(std::move(listener)) {}

absl::Status TcpServerIo::Run() {
  RETURN_IF_ERROR(loop_->Add(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); }));
  source_->SetChannelWake([this] { loop_->Wake(); });
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

TcpServerIo::~TcpServerIo() { Close(); }

bool TcpServerIo::Close() {
  if (!thread_.joinable()) return true;
  source_->SetChannelWake(nullptr);
  stop_ = true;
  loop_->Wake();
  thread_.join();
  return true;
}

absl::StatusOr<IssuedTicket> TcpServerIo::IssueTicket(uint64_t peer_incarnation) {
  absl::StatusOr<IssuedTicket> issued = desk_.IssueTicket(peer_incarnation, loop_->Now());
  loop_->Wake();  // to watch its expiry
  return issued;
}

void TcpServerIo::CloseSession(SessionId session) {
  desk_.CloseSession(session);
  loop_->Wake();
}

void TcpServerIo::Loop() {
  while (!stop_) {
    CloseAsked();
    Nanos now = loop_->Now();
    EndLate(now);
    MeasureRates(now);
    for (auto& [id, session] : sessions_) {
      for (auto& connection : session.streams) {
        if (connection != nullptr) connection->ReleaseMemoryIfWanted();
      }
    }
    std::optional<Nanos> ask_again_at = Pump();
    loop_->RunOnce(NextWake(loop_->Now(), ask_again_at));
  }
  while (!sessions_.empty()) {
    Down(sessions_.begin()->first, absl::CancelledError("the server is closing"));
  }
}

void TcpServerIo::Accept() {
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
    auto unknown = std::make_unique<Unknown>();
    int raw = fd.get();
    if (!SetDataOptions(raw, options_.tcp).ok() ||
        !loop_->Add(raw, EPOLLIN, [this, raw](uint32_t) { OnHelloBytes(raw); }).ok()) {
      continue;
    }
    unknown->fd = std::move(fd);
    unknown->deadline = loop_->Now() + options_.tcp.handshake_timeout;
    unknown_[raw] = std::move(unknown);
  }
}

void TcpServerIo::Stranger(int fd) {
  loop_->Remove(fd);
  unknown_.erase(fd);
  desk_.Count([](DataServerStats& stats) { ++stats.refused_strangers; });
}

void TcpServerIo::OnHelloBytes(int fd) {
  Unknown& unknown = *unknown_.at(fd);
  ssize_t n = ::recv(fd, unknown.hello.data() + unknown.received,
                     unknown.hello.size() - unknown.received, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return Stranger(fd);
  unknown.received += static_cast<size_t>(n);
  if (unknown.received < unknown.hello.size()) return;
  absl::StatusOr<Hello> hello = ParseHello(unknown.hello);
  if (!hello.ok() && !absl::IsUnimplemented(hello.status())) return Stranger(fd);
  loop_->Remove(fd);
  std::unique_ptr<Unknown> owned = std::move(unknown_.at(fd));
  unknown_.erase(fd);
  Greet(std::move(owned));
}

void TcpServerIo::Greet(std::unique_ptr<Unknown> unknown) {
  absl::StatusOr<Hello> hello = ParseHello(unknown->hello);
  TicketRegistry::Admission admission{.result = HelloResult::kOtherVersion};
  if (hello.ok()) admission = desk_.Admit(*hello, loop_->Now());
  if (admission.result != HelloResult::kAccepted) {
    desk_.Count([](DataServerStats& stats) { ++stats.refused_peers; });
  }
  ReplyBytes reply = EncodeHelloReply(admission.result);
  // A new connection's buffer takes 16 bytes; if it does not, the connection is already broken.
  ssize_t n = ::send(unknown->fd.get(), reply.data(), reply.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (admission.result != HelloResult::kAccepted) return;
  if (n != static_cast<ssize_t>(reply.size())) {
    return Down(admission.session, absl::UnavailableError("the greeting could not be answered"));
  }
  Open(std::move(unknown->fd), *hello, admission);
}

void TcpServerIo::Open(UniqueFd fd, const Hello& hello,
                       const TicketRegistry::Admission& admission) {
  const Stream stream = hello.stream;
  const SessionId id = admission.session;
  MarkStream(fd.get(), stream, options_.tcp);
  int raw = fd.get();
  absl::Status added = loop_->Add(raw, EPOLLIN | EPOLLRDHUP, [this, id, stream](uint32_t events) {
    OnEvents(id, stream, events);
  });
  if (!added.ok()) return Down(id, added);
  Session& session = sessions_[id];
  session.streams[static_cast<int>(stream)] =
      std::make_unique<SendConnection>(std::move(fd), stream, options_.tcp, source_, loop_->Now());
  if (!admission.complete) return;
  session.up = true;
  desk_.Count([](DataServerStats& stats) { ++stats.sessions_up; });
  source_->OnSession({id, true});
}

void TcpServerIo::OnEvents(SessionId id, Stream stream, uint32_t epoll_events) {
  SendConnection& connection = *sessions_.at(id).streams[static_cast<int>(stream)];
  if (epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    // A receiver never sends on an open connection: either it is gone or it is not one of ours.
    std::byte byte;
    ssize_t n = ::recv(connection.fd(), &byte, 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    return Down(id, absl::UnavailableError(
                        n > 0    ? "the receiver broke the protocol: it sent data"
                        : n == 0 ? "the receiver closed the connection"
                                 : absl::StrCat("connection lost: ", std::strerror(errno))));
  }
  if (epoll_events & EPOLLOUT) {
    absl::Status status = connection.Write(loop_->Now());
    if (!status.ok()) return Down(id, status);
    if (!connection.writing()) loop_->SetEvents(connection.fd(), EPOLLIN | EPOLLRDHUP);
  }
}

void TcpServerIo::Down(SessionId id, const absl::Status& why) {
  bool was_up = false;
  auto it = sessions_.find(id);
  if (it != sessions_.end()) {
    was_up = it->second.up;
    for (auto& connection : it->second.streams) {
      if (connection != nullptr) loop_->Remove(connection->fd());
    }
    sessions_.erase(it);
  }
  desk_.Forget(id);
  desk_.Count([&](DataServerStats& stats) {
    stats.sessions_up -= was_up;
    stats.sessions_lost += was_up;
  });
  source_->OnSession({id, false, why});
}

void TcpServerIo::CloseAsked() {
  for (SessionId id : desk_.TakeToClose()) {
    Down(id, absl::CancelledError("the session was closed"));
  }
}

void TcpServerIo::EndLate(Nanos now) {
  if (std::exchange(accept_paused_, false)) loop_->SetEvents(listener_.get(), EPOLLIN);
  for (SessionId id : desk_.Expire(now)) {
    Down(id, absl::DeadlineExceededError("the receiver did not connect in time"));
  }
  std::vector<int> silent;
  for (const auto& [fd, unknown] : unknown_) {
    if (now >= unknown->deadline) silent.push_back(fd);
  }
  for (int fd : silent) Stranger(fd);
  std::vector<SessionId> stuck;
  for (const auto& [id, session] : sessions_) {
    for (const auto& connection : session.streams) {
      std::optional<Nanos> deadline = connection == nullptr ? std::nullopt : connection->Deadline();
      if (deadline && now >= *deadline) {
        stuck.push_back(id);
        break;
      }
    }
  }
  for (SessionId id : stuck) {
    Down(id, absl::DeadlineExceededError("the receiver took no data in mid-frame"));
  }
}

void TcpServerIo::MeasureRates(Nanos now) {
  for (auto& [id, session] : sessions_) {
    if (!session.up || now < session.measure_at) continue;
    session.measure_at = now + kMeasureEvery;
    uint64_t rate = 0;
    for (auto& connection : session.streams) rate = std::max(rate, connection->MeasureRate());
    source_->SetLinkRate(id, rate);
  }
}

Readiness TcpServerIo::ReadinessOf(SessionId id, Stream stream, Nanos now) const {
  auto it = sessions_.find(id);
  if (it == sessions_.end() || !it->second.up) return Readiness::kStalled;
  return it->second.streams[static_cast<int>(stream)]->ReadinessAt(now, options_.stalled_after);
}

bool TcpServerIo::SendOne(OutFrame frame, Nanos now) {
  const SessionId id = frame.session;
  const Stream stream = StreamOf(frame.block_class);
  SendConnection& connection = *sessions_.at(id).streams[static_cast<int>(stream)];
  connection.Start(std::move(frame), now);
  absl::Status status = connection.Write(now);
  if (!status.ok()) {
    Down(id, status);
    return false;
  }
  if (connection.writing()) loop_->SetEvents(connection.fd(), EPOLLIN | EPOLLRDHUP | EPOLLOUT);
  return true;
}

std::optional<Nanos> TcpServerIo::Pump() {
  for (int i = 0; i < kFramesAtOnce; ++i) {
    for (auto& [id, session] : sessions_) {
      auto& residual = session.streams[static_cast<int>(Stream::kResidual)];
      if (residual != nullptr) residual->CheckDelivered();
    }
    Nanos now = loop_->Now();
    SendPick pick = source_->NextFrame(
        now, [&](SessionId id, Stream stream) { return ReadinessOf(id, stream, now); });
    if (!pick.frame) return pick.ask_again_at;
    SendOne(std::move(*pick.frame), now);
  }
  return loop_->Now();
}

std::optional<Nanos> TcpServerIo::NextWake(Nanos now, std::optional<Nanos> ask_again_at) const {
  std::optional<Nanos> wake = ask_again_at;
  auto consider = [&](Nanos at) { wake = wake ? std::min(*wake, at) : at; };
  if (accept_paused_ || !unknown_.empty() || desk_.stats().sessions_pending > 0) {
    consider(now + kTick);
  }
  for (const auto& [id, session] : sessions_) {
    for (const auto& connection : session.streams) {
      if (connection == nullptr) continue;
      if (connection->awaits_delivery()) consider(now + kDeliveryPoll);
      if (connection->writing()) consider(now + options_.stalled_after);
    }
  }
  return wake;
}

}  // namespace lynx
