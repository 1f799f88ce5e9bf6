// What the services of both engine servers do alike: calls that write what the engine says of a
// request, and the load that a server tells.
#pragma once

#include <grpcpp/server_context.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "proto/call_count.h"
#include "proto/grpc_call.h"
#include "proto/lynx.pb.h"
#include "proto/outbox.h"
#include "proto/trace_reply.h"

namespace lynx {

// A call whose answers come out of an outbox. `Reactor` is one of gRPC's server reactors that
// stream answers. Counted from its construction on; deletes itself when gRPC is done with it.
template <typename Reactor, typename Message>
class OutboxCall : public Reactor, private OutboxWriter<Message> {
 protected:
  OutboxCall(CallCount& calls, grpc::CallbackServerContext* context, int64_t calls_max)
      : calls_(calls), context_(context), allowed_(calls.Add(calls_max)) {}

  // False: too many calls are open; finish it.
  bool allowed() const { return allowed_; }

  // The engine has the request. `cancel` tells it that the peer cancelled, perhaps at once.
  void Submitted(std::shared_ptr<Outbox<Message>> outbox, std::function<void()> cancel) {
    outbox_ = std::move(outbox);
    absl::MutexLock lock(&mu_);
    cancel_ = std::move(cancel);
    if (cancelled_) cancel_();
  }
  bool submitted() const { return outbox_ != nullptr; }

  // After Submitted. The call may end at any moment from now on, unless it is reading.
  void StartWriting() { outbox_->Attach(this); }

 private:
  void OnCancel() override {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    if (cancel_) cancel_();
  }
  void OnWriteDone(bool ok) override { outbox_->Written(ok); }
  void OnDone() override {
    CallCount& calls = calls_;
    delete this;
    calls.Remove();
  }

  // OutboxWriter
  void WriteMessage(const Message& message) override { this->StartWrite(&message); }
  void EndStream(const absl::Status& status) override { this->Finish(ToGrpc(status)); }
  void AbortCall() override { context_->TryCancel(); }

  CallCount& calls_;
  grpc::CallbackServerContext* const context_;
  const bool allowed_;
  std::shared_ptr<Outbox<Message>> outbox_;

  absl::Mutex mu_;
  std::function<void()> cancel_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

// The Trace call of either service; `traces` null: nothing is traced.
inline grpc::ServerUnaryReactor* AnswerTrace(grpc::CallbackServerContext* context,
                                             const TraceBook* traces, const Clock& clock,
                                             const v1::TraceRequest& request,
                                             v1::TraceReply* reply) {
  const absl::StatusOr<v1::TraceReply> found =
      traces == nullptr ? absl::NotFoundError("nothing is traced here")
                        : FindTrace(*traces, request.request_id(), clock);
  if (found.ok()) *reply = *found;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(found.status()));
  return reactor;
}

// `stats` of either engine; pages of `page_bytes`.
template <typename Stats>
void FillLoad(const Stats& stats, int64_t page_bytes, v1::ServerInfo* info) {
  const auto pages = [&](size_t bytes) {
    return static_cast<int64_t>(bytes) / std::max<int64_t>(page_bytes, 1);
  };
  info->set_pages_total(pages(stats.kv_budget_bytes));
  info->set_pages_free(pages(stats.kv_budget_bytes - stats.kv_used_bytes));
  info->set_requests_running(stats.running);
  info->set_requests_waiting(stats.waiting);
  info->set_tokens_outstanding(stats.tokens_outstanding);
}

}  // namespace lynx
