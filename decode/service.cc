#include "decode/service.h"

#include <algorithm>
#include <memory>

#include "proto/grpc_call.h"

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

// One request's call. Deletes itself when gRPC is done with it.
class Service::GenerateCall final : public grpc::ServerWriteReactor<v1::GenerateEvent>,
                                    private OutboxWriter<v1::GenerateEvent> {
 public:
  GenerateCall(Service& service, grpc::CallbackServerContext* context)
      : service_(service), context_(context) {
    service_.calls_.Add();  // the engine's queue is the limit
  }

  void Start(const v1::GenerateRequest& request) {
    const Nanos deadline =
        CallDeadline(*context_, service_.clock_, service_.options_.request_time_max);
    absl::StatusOr<RequestId> id = service_.engine_.Submit(request, deadline);
    if (!id.ok()) return Finish(ToGrpc(id.status()));
    outbox_ = service_.outboxes_.table().Take(*id);
    bool cancelled = false;
    {
      absl::MutexLock lock(&mu_);
      request_ = *id;
      submitted_ = true;
      cancelled = cancelled_;
    }
    if (cancelled) service_.engine_.Cancel(*id);
    outbox_->Attach(this);
  }

 private:
  void OnCancel() override {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    if (submitted_) service_.engine_.Cancel(request_);
  }

  void OnWriteDone(bool ok) override { outbox_->Written(ok); }

  void OnDone() override {
    CallCount& calls = service_.calls_;
    delete this;
    calls.Remove();
  }

  // OutboxWriter
  void WriteMessage(const v1::GenerateEvent& event) override { StartWrite(&event); }
  void EndStream(const absl::Status& status) override { Finish(ToGrpc(status)); }
  void AbortCall() override { context_->TryCancel(); }

  Service& service_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<Outbox<v1::GenerateEvent>> outbox_;  // set before the first write

  absl::Mutex mu_;
  RequestId request_ ABSL_GUARDED_BY(mu_){};
  bool submitted_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
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
  const EngineStats stats = engine_.stats();
  const auto pages = [&](size_t bytes) {
    return static_cast<int64_t>(bytes) / std::max<int64_t>(options_.page_bytes, 1);
  };
  *reply = options_.info;
  reply->set_pages_total(pages(stats.kv_budget_bytes));
  reply->set_pages_free(pages(stats.kv_budget_bytes - stats.kv_used_bytes));
  reply->set_requests_running(stats.running);
  reply->set_requests_waiting(stats.waiting);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace lynx::decode
