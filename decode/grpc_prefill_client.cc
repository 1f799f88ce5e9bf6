#include "decode/grpc_prefill_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>

#include "proto/client_contexts.h"
#include "proto/grpc_call.h"
#include "proto/lynx.grpc.pb.h"
#include "proto/outbox.h"

namespace lynx::decode {
namespace {

// Requests for missing blocks are the largest of what is sent behind the prompt.
constexpr size_t kOutboxBytes = 16 << 20;
// The prompt's log-probabilities come in messages of some hundred tokens.
constexpr int kReceiveMessageBytesMax = 64 << 20;

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kReceiveMessageBytesMax);
  // A dead server must fail its requests within two seconds: they may still go elsewhere.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 500);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 1500);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // One that restarts is found again soon. While a reconnection is awaited, calls fail at once.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 250);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args);
}

// Far beyond any request, and well within what a time_point holds.
constexpr Nanos kTimeoutMax = std::chrono::hours(24 * 365);

std::shared_ptr<grpc::ClientContext> NewContext(ClientContexts& contexts, Nanos timeout) {
  std::shared_ptr<grpc::ClientContext> context = contexts.New();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::system_clock::duration>(
                            std::min(timeout, kTimeoutMax)));
  return context;
}

struct JoinCall {
  std::shared_ptr<grpc::ClientContext> context;
  v1::JoinRequest request;
  v1::JoinReply reply;
};

// Holds itself until gRPC is done with it.
class GrpcRun final : public RunStream,
                      public std::enable_shared_from_this<GrpcRun>,
                      private grpc::ClientBidiReactor<v1::DecodeToPrefill, v1::PrefillToDecode>,
                      private OutboxWriter<v1::DecodeToPrefill> {
 public:
  // The stub is used while there is a context.
  GrpcRun(v1::Prefill::Stub* stub, std::shared_ptr<grpc::ClientContext> context,
          v1::RunRequest request, std::shared_ptr<RunEvents> events)
      : stub_(stub),
        events_(std::move(events)),
        context_(std::move(context)),
        outbox_(kOutboxBytes) {
    v1::DecodeToPrefill first;
    *first.mutable_run() = std::move(request);
    outbox_.Push(std::move(first));
  }

  void Start() override {
    self_ = shared_from_this();
    const auto context = context_.get();
    stub_->async()->Run(context.get(), this);
    // Writes are started from outside of gRPC's reactions, so gRPC must not end the call before the
    // outbox has let go of it.
    AddHold();
    StartRead(&incoming_);
    outbox_.Attach(this);
    StartCall();
    if (cancelled_) context->TryCancel();  // it may have come before there was a call
  }
  void Send(v1::DecodeToPrefill message) override { outbox_.Push(std::move(message)); }
  void CloseSending() override { outbox_.Close(absl::OkStatus()); }
  void Cancel() override {
    cancelled_ = true;
    context_.Cancel();
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return outbox_.Close(absl::CancelledError("the stream has ended"));
    events_->OnMessage(std::move(incoming_));
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override { outbox_.Written(ok); }

  void OnDone(const grpc::Status& status) override {
    context_.End();
    events_->OnDone(FromGrpc(status));
    self_.reset();  // perhaps the last reference: nothing of this is touched after it
  }

  // OutboxWriter
  void WriteMessage(const v1::DecodeToPrefill& message) override { StartWrite(&message); }
  void EndStream(const absl::Status& status) override {
    if (status.ok()) StartWritesDone();
    RemoveHold();
  }
  void AbortCall() override { context_.Cancel(); }

  v1::Prefill::Stub* const stub_;
  const std::shared_ptr<RunEvents> events_;
  CallContext context_;
  std::atomic<bool> cancelled_{false};
  v1::PrefillToDecode incoming_;
  Outbox<v1::DecodeToPrefill> outbox_;
  std::shared_ptr<GrpcRun> self_;
};

class GrpcPrefillClient final : public PrefillClient {
 public:
  explicit GrpcPrefillClient(const std::string& address)
      : stub_(v1::Prefill::NewStub(Connect(address))) {}

  void Join(const v1::JoinRequest& request, Nanos timeout, JoinDone done) override {
    auto call = std::make_shared<JoinCall>();
    call->request = request;
    call->context = NewContext(contexts_, timeout);
    stub_->async()->Join(call->context.get(), &call->request, &call->reply,
                         [call, done = std::move(done)](const grpc::Status& status) {
                           call->context.reset();
                           if (status.ok()) {
                             done(std::move(call->reply));
                           } else {
                             done(FromGrpc(status));
                           }
                         });
  }

  std::shared_ptr<RunStream> NewRun(v1::RunRequest request, Nanos timeout,
                                    std::shared_ptr<RunEvents> events) override {
    return std::make_shared<GrpcRun>(stub_.get(), NewContext(contexts_, timeout),
                                     std::move(request), std::move(events));
  }

 private:
  const std::unique_ptr<v1::Prefill::Stub> stub_;
  ClientContexts contexts_;
};

}  // namespace

std::shared_ptr<PrefillClient> NewGrpcPrefillClient(const std::string& address) {
  return std::make_shared<GrpcPrefillClient>(address);
}

}  // namespace lynx::decode
