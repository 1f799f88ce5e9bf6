#include "transfer/tcp_client.h"

#include <algorithm>
#include <utility>

#include "transfer/tcp_client_io.h"

namespace lynx {

absl::StatusOr<std::unique_ptr<TcpClient>> TcpClient::Start(const TcpClientOptions& options,
                                                            FrameSink* sink) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Create());
  return std::make_unique<TcpClientIo>(options, sink, std::move(loop));
}

TcpClientIo::TcpClientIo(const TcpClientOptions& options, FrameSink* sink,
                         std::unique_ptr<EventLoop> loop)
    : options_(options), sink_(sink), loop_(std::move(loop)), thread_([this] { Loop(); }) {}

TcpClientIo::~TcpClientIo() { Close(); }

bool TcpClientIo::Close() {
  if (!thread_.joinable()) return true;
  stop_ = true;
  loop_->Wake();
  thread_.join();
  return true;
}

absl::StatusOr<SessionId> TcpClientIo::Dial(const DialRequest& request) {
  if (request.sender_incarnation == 0) {
    return absl::InvalidArgumentError("incarnation 0 is not valid");
  }
  std::vector<SocketAddress> addresses = request.addresses;
  if (addresses.empty()) {
    ASSIGN_OR_RETURN(addresses, ResolveHost(request.host, request.port));
  }
  SessionId id{};
  {
    absl::MutexLock lock(&mu_);
    if (session_count_ >= options_.max_sessions) {
      return absl::ResourceExhaustedError(
          absl::StrCat("all ", options_.max_sessions, " data-plane sessions are taken"));
    }
    ++session_count_;
    id = SessionId{next_session_++};
    auto session = std::make_unique<Session>();
    for (int s = 0; s < kStreams; ++s) {
      Hello hello{.stream = static_cast<Stream>(s),
                  .ticket = request.ticket,
                  .sender_incarnation = request.sender_incarnation,
                  .receiver_incarnation = options_.incarnation};
      session->streams[s] =
          std::make_unique<ReceiveConnection>(id, hello, addresses, options_.tcp, sink_);
    }
    asked_.push_back({id, std::move(session)});
  }
  loop_->Wake();
  return id;
}

void TcpClientIo::CloseSession(SessionId session) {
  {
    absl::MutexLock lock(&mu_);
    asked_.push_back({session, nullptr});
  }
  loop_->Wake();
}

DataClientStats TcpClientIo::stats() const {
  absl::MutexLock lock(&mu_);
  return stats_;
}

void TcpClientIo::Loop() {
  while (!stop_) {
    HandleAsked();
    EndLate(loop_->Now());
    loop_->RunOnce(NextDeadline());
  }
  HandleAsked();
  while (!sessions_.empty()) {
    Down(sessions_.begin()->first, absl::CancelledError("the client is closing"));
  }
}

void TcpClientIo::HandleAsked() {
  std::vector<Asked> asked;
  {
    absl::MutexLock lock(&mu_);
    asked = std::exchange(asked_, {});
  }
  for (Asked& a : asked) {
    if (a.open == nullptr) {
      Down(a.session, absl::CancelledError("the session was closed"));
      continue;
    }
    sessions_[a.session] = std::move(a.open);
    for (int s = 0; s < kStreams && sessions_.contains(a.session); ++s) Connect(a.session, s);
  }
}

void TcpClientIo::Connect(SessionId id, int stream) {
  ReceiveConnection& connection = *sessions_.at(id)->streams[stream];
  absl::Status status = connection.ConnectNext(loop_->Now());
  if (status.ok()) {
    status = loop_->Add(connection.fd(), connection.wanted_events(),
                        [this, id, stream](uint32_t) { OnEvents(id, stream); });
  }
  if (!status.ok()) Down(id, status);
}

void TcpClientIo::OnEvents(SessionId id, int stream) {
  ReceiveConnection& connection = *sessions_.at(id)->streams[stream];
  absl::Status status = connection.OnEvents(loop_->Now());
  if (status.ok()) return AfterProgress(id, stream);
  if (!connection.may_try_next()) return Down(id, status);
  loop_->Remove(connection.fd());
  Connect(id, stream);
}

void TcpClientIo::AfterProgress(SessionId id, int stream) {
  Session& session = *sessions_.at(id);
  loop_->SetEvents(session.streams[stream]->fd(), session.streams[stream]->wanted_events());
  if (session.up || !session.streams[0]->open() || !session.streams[1]->open()) return;
  session.up = true;
  {
    absl::MutexLock lock(&mu_);
    ++stats_.sessions_up;
  }
  sink_->OnSession({id, true});
}

void TcpClientIo::Down(SessionId id, const absl::Status& why) {
  auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  const bool was_up = it->second->up;
  for (auto& connection : it->second->streams) {
    if (connection->fd() >= 0) loop_->Forget(connection->fd());
  }
  sessions_.erase(it);
  {
    absl::MutexLock lock(&mu_);
    --session_count_;
    stats_.sessions_up -= was_up;
    stats_.sessions_lost += was_up;
  }
  sink_->OnSession({id, false, why});
}

void TcpClientIo::EndLate(Nanos now) {
  std::vector<std::pair<SessionId, absl::Status>> late;
  for (const auto& [id, session] : sessions_) {
    for (const auto& connection : session->streams) {
      std::optional<Nanos> deadline = connection->Deadline();
      if (!deadline || now < *deadline) continue;
      late.emplace_back(id, connection->Overdue());
      break;
    }
  }
  for (const auto& [id, status] : late) Down(id, status);
}

std::optional<Nanos> TcpClientIo::NextDeadline() const {
  std::optional<Nanos> next;
  for (const auto& [id, session] : sessions_) {
    for (const auto& connection : session->streams) {
      std::optional<Nanos> deadline = connection->Deadline();
      if (deadline) next = next ? std::min(*next, *deadline) : *deadline;
    }
  }
  return next;
}

}  // namespace lynx
