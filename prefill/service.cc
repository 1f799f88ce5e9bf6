#include "prefill/service.h"

#include <algorithm>

#include "proto/engine_service.h"
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

// One run's call. gRPC calls OnReadDone once after the other.
class Service::RunCall final
    : public OutboxCall<grpc::ServerBidiReactor<v1::DecodeToPrefill, v1::PrefillToDecode>,
                        v1::PrefillToDecode> {
 public:
  RunCall(Service& service, grpc::CallbackServerContext* context)
      : OutboxCall(service.calls_, context, service.options_.calls_max),
        service_(service),
        context_(context) {
    if (!allowed()) {
      Finish(ToGrpc(absl::ResourceExhaustedError("this prefill server has too many open calls")));
      return;
    }
    StartRead(&incoming_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (!submitted()) return OnFirstMessage(ok);
    if (!ok) {
      // After `done` the engine has ended the run before it reads this.
      return CancelRun(absl::CancelledError("the decode server ended the run's stream"));
    }
    absl::Status status = service_.engine_.Post(run_, std::move(incoming_));
    if (status.ok()) return ReadOn();
    CancelRun(status);
    service_.data_.CloseSession(*session_);
  }

  void OnFirstMessage(bool ok) {
    absl::Status status = ok ? Submit() : absl::CancelledError("the stream ended before a run");
    if (!status.ok()) return Finish(ToGrpc(status));
    ReadOn();
    StartWriting();
  }

  absl::Status Submit() {
    if (!incoming_.has_run()) {
      return absl::InvalidArgumentError("the first message of a run must be its request");
    }
    ASSIGN_OR_RETURN(const Ticket ticket, TicketFromBytes(incoming_.run().ticket()));
    absl::StatusOr<SessionHold> session = service_.data_.HoldSession(ticket);
    // A code of its own, by which the decode server knows that it has to join anew.
    if (!session.ok()) return absl::UnauthenticatedError("unknown ticket: join again");
    session_ = *std::move(session);
    const Nanos deadline = CallDeadline(*context_, service_.clock_, service_.options_.run_time_max);
    ASSIGN_OR_RETURN(
        run_, service_.engine_.Submit(std::move(*incoming_.mutable_run()), *session_, deadline));
    Submitted(service_.outboxes_.table().Take(run_),
              [this] { CancelRun(absl::CancelledError("the decode server cancelled the run")); });
    return absl::OkStatus();
  }

  void ReadOn() {
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void CancelRun(const absl::Status& why) { service_.engine_.Cancel(run_, why); }

  Service& service_;
  grpc::CallbackServerContext* const context_;
  v1::DecodeToPrefill incoming_;
  // Set by the first message.
  RunId run_{};
  SessionHold session_;  // until the call's end: the engine has ended the run before
};

Service::Service(const ServiceOptions& options, Engine& engine, RunOutboxes& outboxes,
                 DataServer& data, const Clock& clock)
    : options_(options), engine_(engine), outboxes_(outboxes), data_(data), clock_(clock) {}

Service::~Service() { calls_.WaitForNone(); }

// Both have to say the same: a decode server that says nothing is of a version that knew TCP alone.
absl::Status Service::CompareChannel(const v1::JoinRequest& request) const {
  const std::string_view ours = ChannelName(options_.channel);
  const std::string_view theirs =
      request.channel().empty() ? ChannelName(ChannelKind::kTcp) : request.channel();
  if (ours == theirs) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "KV would travel over different channels: the prefill server's is ", ToAbsl(ours),
      ", the decode server's is ", ToAbsl(theirs),
      ": set transfer.channel to the same on both (auto is nccl where there are a GPU and NCCL)"));
}

absl::Status Service::DoJoin(const v1::JoinRequest& request, v1::JoinReply* reply) {
  RETURN_IF_ERROR(CompareIdentity(options_.info.identity(), request.identity()));
  RETURN_IF_ERROR(CompareChannel(request));
  if (request.incarnation() == 0) return absl::InvalidArgumentError("an incarnation is not 0");
  ASSIGN_OR_RETURN(const IssuedTicket issued, data_.IssueTicket(request.incarnation()));
  reply->set_incarnation(options_.info.incarnation());
  reply->set_channel(std::string(ChannelName(options_.channel)));
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
  *reply = options_.info;
  FillLoad(stats, options_.page_bytes, reply);
  options_.condition(reply);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* Service::Trace(grpc::CallbackServerContext* context,
                                         const v1::TraceRequest* request, v1::TraceReply* reply) {
  return AnswerTrace(context, options_.traces, clock_, *request, reply);
}

}  // namespace lynx::prefill
