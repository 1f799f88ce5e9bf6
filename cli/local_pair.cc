#include "cli/local_pair.h"

#include <utility>

#include "absl/synchronization/notification.h"
#include "model/cpu_backend.h"
#include "transfer/ticket.h"

namespace lynx {

// Filled on the engine thread; read by others once `ended` is notified.
class LocalPair::Pending {
 public:
  Pending(Nanos submitted_at, Observer on_event)
      : submitted(submitted_at), observer(std::move(on_event)) {}

  const Nanos submitted;
  const Observer observer;
  TimedResult result;
  absl::Notification ended;
};

absl::StatusOr<std::unique_ptr<LocalPair>> LocalPair::Start(const LocalPairOptions& options,
                                                            const LoadedModel& model,
                                                            const Kernels& kernels) {
  RETURN_IF_ERROR(options.send_queue.Validate());
  std::unique_ptr<LocalPair> pair(new LocalPair(options));
  RETURN_IF_ERROR(pair->Open(model, kernels));
  return pair;
}

LocalPair::LocalPair(const LocalPairOptions& options)
    : options_(options),
      sender_incarnation_(RandomIncarnation()),
      receiver_incarnation_(RandomIncarnation()),
      sender_(options.send_queue, [this] { prefill_wakeup_.Notify(); }),
      receiver_([this] { decode_wakeup_.Notify(); }),
      control_([this] { return Connect(); }) {}

absl::Status LocalPair::Open(const LoadedModel& model, const Kernels& kernels) {
  prefill_ = std::make_unique<EngineThread<prefill::Engine>>(
      options_.prefill_threads, clock_, prefill_wakeup_, [&, this](ThreadPool& pool) {
        return std::make_unique<prefill::Engine>(
            options_.prefill, model.config,
            std::make_unique<CpuBackend>(model.config, model.weights, kernels, pool), clock_,
            sender_, control_, [this] { prefill_wakeup_.Notify(); });
      });
  decode_ = std::make_unique<EngineThread<decode::Engine>>(
      options_.decode_threads, clock_, decode_wakeup_, [&, this](ThreadPool& pool) {
        return std::make_unique<decode::Engine>(
            options_.decode, model.config,
            std::make_unique<CpuBackend>(model.config, model.weights, kernels, pool), clock_,
            receiver_, control_, *this, [this] { decode_wakeup_.Notify(); });
      });
  control_.Attach(&prefill_->engine(), &decode_->engine());
  ASSIGN_OR_RETURN(server_, TcpServer::Start({.tcp = options_.tcp,
                                              .listen_host = "127.0.0.1",
                                              .incarnation = sender_incarnation_},
                                             &sender_));
  ASSIGN_OR_RETURN(
      client_,
      TcpClient::Start({.tcp = options_.tcp, .incarnation = receiver_incarnation_}, &receiver_));
  return absl::OkStatus();
}

LocalPair::~LocalPair() {
  if (decode_ != nullptr) decode_->Stop();
  if (prefill_ != nullptr) prefill_->Stop();
  client_.reset();
  server_.reset();
}

absl::StatusOr<DataSession> LocalPair::Connect() {
  ASSIGN_OR_RETURN(const IssuedTicket issued, server_->IssueTicket(receiver_incarnation_));
  ASSIGN_OR_RETURN(const SessionId receiver,
                   client_->Dial({.host = "127.0.0.1",
                                  .port = server_->port(),
                                  .ticket = issued.ticket,
                                  .sender_incarnation = sender_incarnation_}));
  return DataSession{.sender = issued.session, .receiver = receiver};
}

std::shared_ptr<LocalPair::Pending> LocalPair::Submit(v1::GenerateRequest request,
                                                      Observer observer) {
  request.set_emission(v1::EMISSION_SPECULATIVE);
  if (request.prefill_addresses().empty()) request.add_prefill_addresses("local");
  absl::MutexLock lock(&mu_);
  const Nanos now = clock_.Now();
  auto pending = std::make_shared<Pending>(now, std::move(observer));
  absl::StatusOr<decode::RequestId> id =
      decode_->engine().Submit(std::move(request), now + options_.request_timeout);
  if (id.ok()) {
    open_[*id] = pending;
  } else {
    pending->result.collected.done = true;
    pending->result.collected.status = id.status();
    pending->ended.Notify();
  }
  return pending;
}

TimedResult LocalPair::Wait(const std::shared_ptr<Pending>& pending) {
  pending->ended.WaitForNotification();
  return pending->result;
}

bool LocalPair::OnEvent(decode::RequestId request, v1::GenerateEvent event) {
  std::shared_ptr<Pending> pending;
  {
    absl::MutexLock lock(&mu_);
    pending = open_.at(request);
  }
  TimedResult& result = pending->result;
  const Nanos since = clock_.Now() - pending->submitted;
  result.collected.status.Update(result.Add(event, since));
  if (!result.collected.status.ok()) return false;
  if (pending->observer) pending->observer(result);
  return true;
}

void LocalPair::OnFinished(decode::RequestId request, const absl::Status& status) {
  std::shared_ptr<Pending> pending;
  {
    absl::MutexLock lock(&mu_);
    auto it = open_.find(request);
    pending = std::move(it->second);
    open_.erase(it);
  }
  pending->result.total = clock_.Now() - pending->submitted;
  pending->result.collected.done = true;
  pending->result.collected.status.Update(status);
  pending->ended.Notify();
}

}  // namespace lynx
