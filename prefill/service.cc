#include "prefill/service.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "proto/grpc_call.h"
#include "proto/identity.h"
#include "proto/role_options.h"

namespace lynx::prefill {
namespace {

// What may wait for a decode server that reads slowly. Its largest part are the prompt's
// log-probabilities, some kilobytes a hundred tokens.
constexpr size_t kOutboxBytes = 16 << 20;

absl::StatusOr<Ticket> TicketFromBytes(const std::string& bytes) {
  Ticket ticket{};
  if (bytes.size() != sizeof ticket) {
    return absl::UnauthenticatedError(
        absl::StrCat("a ticket has ", sizeof ticket, " bytes, not ", bytes.size()));
  }
  std::copy_n(bytes.begin(), bytes.size(), reinterpret_cast<char*>(&ticket));
  return ticket;
}

}  // namespace

RunOutboxes::RunOutboxes() : table_(kOutboxBytes) {}

void RunOutboxes::OnMessage(RunId run, v1::PrefillToDecode message) {
  // A full outbox aborts its call, whose end cancels the run.
  table_.Push(run, std::move(message));
}

void RunOutboxes::OnFinished(RunId run, const absl::Status& status) { table_.Close(run, status); }

// One run's call. gRPC calls the reactions OnReadDone one after the other, OnWriteDone and OnCancel
// beside them; deletes itself when gRPC is done with it.
class Service::RunCall final
    : public grpc::ServerBidiReactor<v1::DecodeToPrefill, v1::PrefillToDecode>,
      private OutboxWriter<v1::PrefillToDecode> {
 public:
  RunCall(Service& service, grpc::CallbackServerContext* context)
      : service_(service), context_(context) {
    if (!service_.calls_.Add(service_.options_.calls_max)) {
      Finish(ToGrpc(absl::ResourceExhaustedError("this prefill server has too many open calls")));
      return;
    }
    StartRead(&incoming_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (outbox_ == nullptr) return OnFirstMessage(ok);
    if (!ok) {
      // After `done` the engine has ended the run before it reads this.
      return CancelRun(absl::CancelledError("the decode server ended the run's stream"));
    }
    absl::Status status = service_.engine_.Post(run_, std::move(incoming_));
    if (!status.ok()) return CancelRun(status);
    ReadOn();
  }

  void OnFirstMessage(bool ok) {
    absl::Status status = ok ? Submit() : absl::CancelledError("the stream ended before a run");
    if (!status.ok()) return Finish(ToGrpc(status));
    ReadOn();
    outbox_->Attach(this);
  }

  absl::Status Submit() {
    if (!incoming_.has_run()) {
      return absl::InvalidArgumentError("the first message of a run must be its request");
    }
    ASSIGN_OR_RETURN(const Ticket ticket, TicketFromBytes(incoming_.run().ticket()));
    absl::StatusOr<SessionId> session = service_.data_.FindSession(ticket);
    // A code of its own, by which the decode server knows that it has to join anew.
    if (!session.ok()) return absl::UnauthenticatedError("unknown ticket: join again");
    const Nanos deadline = CallDeadline(*context_, service_.clock_, service_.options_.run_time_max);
    ASSIGN_OR_RETURN(
        run_, service_.engine_.Submit(std::move(*incoming_.mutable_run()), *session, deadline));
    outbox_ = service_.outboxes_.table().Take(run_);
    absl::MutexLock lock(&mu_);
    submitted_ = true;
    if (cancelled_) CancelRun(absl::CancelledError("the decode server cancelled the run"));
    return absl::OkStatus();
  }

  void ReadOn() {
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void CancelRun(const absl::Status& why) { service_.engine_.Cancel(run_, why); }

  void OnCancel() override {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    if (submitted_) CancelRun(absl::CancelledError("the decode server cancelled the run"));
  }

  void OnWriteDone(bool ok) override { outbox_->Written(ok); }

  void OnDone() override {
    CallCount& calls = service_.calls_;
    delete this;
    calls.Remove();
  }

  // OutboxWriter
  void WriteMessage(const v1::PrefillToDecode& message) override { StartWrite(&message); }
  void EndStream(const absl::Status& status) override { Finish(ToGrpc(status)); }
  void AbortCall() override { context_->TryCancel(); }

  Service& service_;
  grpc::CallbackServerContext* const context_;
  v1::DecodeToPrefill incoming_;
  // Set by the first message, before anything that reads them is started.
  RunId run_{};
  std::shared_ptr<Outbox<v1::PrefillToDecode>> outbox_;

  absl::Mutex mu_;
  bool submitted_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

Service::Service(const ServiceOptions& options, Engine& engine, RunOutboxes& outboxes,
                 TcpServer& data, const Clock& clock)
    : options_(options), engine_(engine), outboxes_(outboxes), data_(data), clock_(clock) {}

Service::~Service() { calls_.WaitForNone(); }

absl::Status Service::DoJoin(const v1::JoinRequest& request, v1::JoinReply* reply) {
  RETURN_IF_ERROR(CompareIdentity(options_.info.identity(), request.identity()));
  if (request.incarnation() == 0) return absl::InvalidArgumentError("an incarnation is not 0");
  ASSIGN_OR_RETURN(const IssuedTicket issued, data_.IssueTicket(request.incarnation()));
  reply->set_incarnation(options_.info.incarnation());
  reply->set_data_address(JoinHostPort(options_.data_host, data_.port()));
  reply->set_ticket(
      std::string(reinterpret_cast<const char*>(&issued.ticket), sizeof issued.ticket));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* Service::Join(grpc::CallbackServerContext* context,
                                        const v1::JoinRequest* request, v1::JoinReply* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(DoJoin(*request, reply)));
  return reactor;
}

grpc::ServerBidiReactor<v1::DecodeToPrefill, v1::PrefillToDecode>* Service::Run(
    grpc::CallbackServerContext* context) {
  return new RunCall(*this, context);
}

grpc::ServerUnaryReactor* Service::Info(grpc::CallbackServerContext* context,
                                        const v1::InfoRequest*, v1::ServerInfo* reply) {
  const EngineStats stats = engine_.stats();
  const auto pages = [&](size_t bytes) {
    return static_cast<int64_t>(bytes) / std::max<int64_t>(options_.page_bytes, 1);
  };
  *reply = options_.info;
  reply->set_pages_total(pages(stats.kv_budget_bytes));
  reply->set_pages_free(pages(stats.kv_budget_bytes - stats.kv_used_bytes));
  reply->set_requests_running(stats.running);
  reply->set_requests_waiting(stats.waiting);
  reply->set_prompt_tokens_outstanding(stats.prompt_tokens_outstanding);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace lynx::prefill
