#include "decode/service.h"

#include <limits>

#include "proto/engine_service.h"

namespace lynx::decode {
namespace {

// What may wait for a gateway that reads slowly: some hundred thousand tokens, or the
// log-probabilities of a very long prompt. Then the request is cancelled.
constexpr size_t kOutboxBytes = 16 << 20;

}  // namespace

RequestOutboxes::RequestOutboxes() : table_(kOutboxBytes) {}

bool RequestOutboxes::OnEvent(RequestId request, v1::GenerateEvent event) {
  return table_.Push(request, std::move(event));
}

void RequestOutboxes::OnFinished(RequestId request, const absl::Status& status) {
  table_.Close(request, status);
}

// One request's call.
class Service::GenerateCall final
    : public OutboxCall<grpc::ServerWriteReactor<v1::GenerateEvent>, v1::GenerateEvent> {
 public:
  GenerateCall(Service& service, grpc::CallbackServerContext* context)
      : OutboxCall(service.calls_, context, kNoLimit), service_(service), context_(context) {}

  void Start(const v1::GenerateRequest& request) {
    const Nanos deadline =
        CallDeadline(*context_, service_.clock_, service_.options_.request_time_max);
    absl::StatusOr<RequestId> id = service_.engine_.Submit(request, deadline);
    if (!id.ok()) return Finish(ToGrpc(id.status()));
    Submitted(service_.outboxes_.table().Take(*id),
              [this, id = *id] { service_.engine_.Cancel(id); });
    StartWriting();
  }

 private:
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();  // the engine's queue is

  Service& service_;
  grpc::CallbackServerContext* const context_;
};

Service::Service(const ServiceOptions& options, Engine& engine, RequestOutboxes& outboxes,
                 const Clock& clock)
    : options_(options), engine_(engine), outboxes_(outboxes), clock_(clock) {}

Service::~Service() { calls_.WaitForNone(); }

grpc::ServerWriteReactor<v1::GenerateEvent>* Service::Generate(grpc::CallbackServerContext* context,
                                                               const v1::GenerateRequest* request) {
  auto* call = new GenerateCall(*this, context);
  call->Start(*request);
  return call;
}

grpc::ServerUnaryReactor* Service::Info(grpc::CallbackServerContext* context,
                                        const v1::InfoRequest*, v1::ServerInfo* reply) {
  *reply = options_.info;
  FillLoad(engine_.stats(), options_.page_bytes, reply);
  options_.condition(reply);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* Service::Trace(grpc::CallbackServerContext* context,
                                         const v1::TraceRequest* request, v1::TraceReply* reply) {
  return AnswerTrace(context, options_.traces, clock_, *request, reply);
}

}  // namespace lynx::decode
