#include "transfer/nccl_client.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "transfer/nccl_api.h"
#include "transfer/nccl_client_io.h"

namespace lynx {

absl::StatusOr<std::unique_ptr<NcclClient>> NcclClient::Start(const NcclClientOptions& options,
                                                              FrameSink* sink) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(NcclMemory memory,
                   StartNccl(options.nccl,
                             std::max<uint64_t>(options.nccl.max_operation_bytes, kNcclWarmUpBytes),
                             options.nccl.checksums));
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Create());
  return std::make_unique<NcclClientIo>(options, Nccl().version, sink, std::move(loop),
                                        std::move(memory));
}

NcclClientIo::NcclClientIo(const NcclClientOptions& options, uint32_t nccl_version, FrameSink* sink,
                           std::unique_ptr<EventLoop> loop, NcclMemory memory)
    : options_(options),
      nccl_version_(nccl_version),
      sink_(sink),
      loop_(std::move(loop)),
      memory_(std::move(memory)),
      sessions_(options.nccl, loop_.get(),
                [this](const NcclSession& session) { Down(session.id(), session.why(), true); }) {
  thread_.Start([this] { return Loop(); });
}

NcclClientIo::~NcclClientIo() { (void)Close(); }

bool NcclClientIo::Close() {
  stop_ = true;
  loop_->Wake();
  return thread_.End(options_.nccl);
}

absl::StatusOr<SessionId> NcclClientIo::Dial(const DialRequest& request) {
  if (request.sender_incarnation == 0) {
    return absl::InvalidArgumentError("incarnation 0 is not valid");
  }
  auto dialling = std::make_unique<Dialling>();
  dialling->addresses = request.addresses;
  if (dialling->addresses.empty()) {
    ASSIGN_OR_RETURN(dialling->addresses, ResolveHost(request.host, request.port));
  }
  const NcclOptions& nccl = options_.nccl;
  dialling->hello = {.ticket = request.ticket,
                     .sender_incarnation = request.sender_incarnation,
                     .receiver_incarnation = options_.incarnation,
                     .max_operation_bytes = nccl.max_operation_bytes,
                     .operations_in_flight = static_cast<uint16_t>(nccl.operations_in_flight),
                     .wants_checksums = nccl.checksums,
                     .nccl_version = nccl_version_};
  SessionId id{};
  {
    absl::MutexLock lock(&mu_);
    if (session_count_ >= options_.max_sessions) {
      return absl::ResourceExhaustedError(
          absl::StrCat("all ", options_.max_sessions, " data-plane sessions are taken"));
    }
    ++session_count_;
    id = SessionId{next_session_++};
    uses_.Add(id);
    asked_.push_back({id, std::move(dialling)});
  }
  loop_->Wake();
  return id;
}

void NcclClientIo::CloseSession(SessionId session) {
  {
    absl::MutexLock lock(&mu_);
    asked_.push_back({session, nullptr});
  }
  loop_->Wake();
}

SessionHold NcclClientIo::HoldSession(SessionId session) {
  absl::MutexLock lock(&mu_);
  return uses_.Hold(session);
}

DataClientStats NcclClientIo::stats() const {
  absl::MutexLock lock(&mu_);
  return stats_;
}

bool NcclClientIo::Loop() {
  (void)cudaSetDevice(options_.nccl.device);  // Start has tried it
  while (!stop_) {
    const Nanos now = loop_->Now();
    HandleAsked(now);
    EndLate(now);
    sessions_.StepAll(now);
    {
      absl::MutexLock lock(&mu_);
      stats_.sessions_up = sessions_.up();
      stats_.sessions_stuck = sessions_.stuck();
    }
    loop_->RunOnce(NextWake(loop_->Now()));
  }
  HandleAsked(loop_->Now());
  const absl::Status why = absl::CancelledError("the client is closing");
  while (!dialling_.empty()) Down(dialling_.begin()->first, why, false);
  const bool clean = sessions_.AbortAll(why);
  if (!clean) new auto(std::move(memory_));  // the device still uses it
  return clean;
}

void NcclClientIo::HandleAsked(Nanos now) {
  std::vector<Asked> asked;
  {
    absl::MutexLock lock(&mu_);
    asked = std::exchange(asked_, {});
  }
  for (Asked& a : asked) {
    if (a.dial == nullptr) {
      Close(a.session, now);
      continue;
    }
    a.dial->deadline = now + options_.nccl.connect_timeout;
    dialling_[a.session] = std::move(a.dial);
    ConnectNext(a.session);
  }
}

void NcclClientIo::Close(SessionId id, Nanos now) {
  const absl::Status why = absl::CancelledError("the session was closed");
  if (NcclSession* session = sessions_.Find(id)) session->Fail(why, now);
  if (dialling_.contains(id)) Down(id, why, false);
}

void NcclClientIo::ConnectNext(SessionId id) {
  Dialling& d = *dialling_.at(id);
  absl::Status last = absl::UnavailableError("no address to connect to");
  while (d.next_address < d.addresses.size()) {
    if (d.fd.valid()) loop_->Forget(d.fd.get());
    absl::StatusOr<UniqueFd> fd = StartConnect(d.addresses[d.next_address++]);
    last = fd.status();
    if (!fd.ok()) continue;
    d.fd = std::move(*fd);
    last = SetDataOptions(d.fd.get(), {.dead_peer_timeout = options_.nccl.dead_peer_timeout});
    if (last.ok()) {
      last = loop_->Add(d.fd.get(), EPOLLOUT, [this, id](uint32_t) { OnConnected(id); });
    }
    if (last.ok()) return;
  }
  Down(id, last, false);
}

void NcclClientIo::OnConnected(SessionId id) {
  Dialling& d = *dialling_.at(id);
  const absl::Status connected = ConnectResult(d.fd.get());
  if (!connected.ok()) {
    if (d.next_address < d.addresses.size()) return ConnectNext(id);
    return Down(id, connected, false);
  }
  loop_->Remove(d.fd.get());
  std::unique_ptr<Dialling> dialling = std::move(dialling_.at(id));
  dialling_.erase(id);
  const absl::Status opened = Open(id, std::move(dialling), loop_->Now());
  if (!opened.ok()) Down(id, opened, false);
}

absl::Status NcclClientIo::Open(SessionId id, std::unique_ptr<Dialling> dialling, Nanos now) {
  bool evicted = false;
  const auto retire = [this](SessionId idle) {
    absl::MutexLock lock(&mu_);
    return uses_.Retire(idle);
  };
  if (!sessions_.MakeRoom(now, retire, &evicted)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "all ", options_.nccl.max_pairs, " pairs of communicators of the receiver are in use"));
  }
  if (evicted) {
    absl::MutexLock lock(&mu_);
    ++stats_.sessions_evicted;
  }
  NcclLink link(std::move(dialling->fd));
  RETURN_IF_ERROR(link.Send(MakeNcclHello(dialling->hello)));
  return sessions_.Add(std::make_unique<NcclReceiveSession>(id, options_.nccl, std::move(link),
                                                            sink_, memory_.scratch.data(),
                                                            memory_.checksums.get(), now));
}

void NcclClientIo::EndLate(Nanos now) {
  std::vector<SessionId> late;
  for (const auto& [id, dialling] : dialling_) {
    if (now >= dialling->deadline) late.push_back(id);
  }
  for (SessionId id : late) {
    Down(id, absl::DeadlineExceededError("the sender's data port did not answer"), false);
  }
}

void NcclClientIo::Down(SessionId id, const absl::Status& why, bool was_session) {
  auto it = dialling_.find(id);
  if (it != dialling_.end()) {
    if (it->second->fd.valid()) loop_->Forget(it->second->fd.get());
    dialling_.erase(it);
  }
  {
    absl::MutexLock lock(&mu_);
    uses_.Forget(id);
    --session_count_;
    stats_.sessions_lost += was_session;
  }
  sink_->OnSession({id, false, why});
}

std::optional<Nanos> NcclClientIo::NextWake(Nanos now) const {
  std::optional<Nanos> wake = sessions_.NextStep(now);
  for (const auto& [id, dialling] : dialling_) {
    wake = wake ? std::min(*wake, dialling->deadline) : dialling->deadline;
  }
  return wake;
}

}  // namespace lynx
