#include "gateway/grpc_client.h"

#include <grpcpp/grpcpp.h>

#include <atomic>

#include "proto/client_contexts.h"
#include "proto/grpc_call.h"
#include "proto/lynx.grpc.pb.h"

namespace lynx {
namespace {

std::shared_ptr<grpc::Channel> Connect(const std::string& address, int64_t max_message_bytes) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(static_cast<int>(max_message_bytes));
  // A host that vanished or hangs fails its calls after 15 s instead of the request's deadline; a
  // request that waits in a queue sends no data for minutes, so pings must not be bound to data.
  // Idle connections need none: Info is asked all the time. Servers must permit this:
  // GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS at most 10 s (gRPC's default, 5 minutes,
  // would close the connection by GOAWAY too_many_pings); proto/grpc_host.cc sets it.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // 0: any number
  // A server that restarts is found again within a second.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args);
}

struct InfoCall {
  std::shared_ptr<grpc::ClientContext> context;
  v1::InfoRequest request;
  v1::ServerInfo reply;
};

template <typename Stub>
void AskInfo(Stub* stub, ClientContexts* contexts, absl::Duration timeout,
             std::function<void(absl::StatusOr<v1::ServerInfo>)> done) {
  auto call = std::make_shared<InfoCall>();
  call->context = contexts->New();
  call->context->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  stub->async()->Info(call->context.get(), &call->request, &call->reply,
                      [call, done = std::move(done)](const grpc::Status& status) {
                        call->context.reset();
                        if (status.ok()) {
                          done(std::move(call->reply));
                        } else {
                          done(FromGrpc(status));
                        }
                      });
}

// Holds itself until gRPC is done with it.
class GrpcGenerateCall : public GenerateCall, private grpc::ClientReadReactor<v1::GenerateEvent> {
 public:
  static std::shared_ptr<GrpcGenerateCall> Start(v1::Decode::Stub* stub,
                                                 std::shared_ptr<grpc::ClientContext> context,
                                                 v1::GenerateRequest request,
                                                 std::shared_ptr<GenerateSink> sink) {
    grpc::ClientContext* const raw = context.get();
    std::shared_ptr<GrpcGenerateCall> call(
        new GrpcGenerateCall(std::move(context), std::move(request), std::move(sink)));
    call->self_ = call;
    stub->async()->Generate(raw, &call->request_, call.get());
    call->StartRead(&call->event_);
    call->StartCall();
    return call;
  }

  void Cancel() override {
    cancelled_ = true;
    context_.Cancel();
  }

 private:
  GrpcGenerateCall(std::shared_ptr<grpc::ClientContext> context, v1::GenerateRequest request,
                   std::shared_ptr<GenerateSink> sink)
      : request_(std::move(request)), sink_(std::move(sink)), context_(std::move(context)) {}

  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    if (!sink_->OnEvent(std::move(event_))) Cancel();
    event_.Clear();
    StartRead(&event_);
  }

  void OnDone(const grpc::Status& status) override {
    context_.End();
    // A server that ends what we did not cancel is shutting down: for the client this is no
    // cancellation but a server that is gone.
    const bool by_server = status.error_code() == grpc::StatusCode::CANCELLED && !cancelled_;
    sink_->OnDone(by_server ? absl::UnavailableError("The decode server cancelled the call.")
                            : FromGrpc(status));
    self_.reset();  // perhaps the last reference: nothing of this is touched after it
  }

  const v1::GenerateRequest request_;
  v1::GenerateEvent event_;
  const std::shared_ptr<GenerateSink> sink_;
  std::atomic<bool> cancelled_{false};  // by us
  CallContext context_;
  std::shared_ptr<GrpcGenerateCall> self_;
};

class GrpcDecodeClient : public DecodeClient {
 public:
  GrpcDecodeClient(const std::string& address, int64_t max_message_bytes)
      : stub_(v1::Decode::NewStub(Connect(address, max_message_bytes))) {}

  void Info(absl::Duration timeout,
            std::function<void(absl::StatusOr<v1::ServerInfo>)> done) override {
    AskInfo(stub_.get(), &contexts_, timeout, std::move(done));
  }
  std::shared_ptr<GenerateCall> Generate(v1::GenerateRequest request, absl::Time deadline,
                                         std::shared_ptr<GenerateSink> sink) override {
    std::shared_ptr<grpc::ClientContext> context = contexts_.New();
    context->set_deadline(absl::ToChronoTime(deadline));
    return GrpcGenerateCall::Start(stub_.get(), std::move(context), std::move(request),
                                   std::move(sink));
  }

 private:
  const std::unique_ptr<v1::Decode::Stub> stub_;
  ClientContexts contexts_;
};

class GrpcPrefillClient : public InfoClient {
 public:
  explicit GrpcPrefillClient(const std::string& address)
      : stub_(v1::Prefill::NewStub(Connect(address, 4 * 1024 * 1024))) {}

  void Info(absl::Duration timeout,
            std::function<void(absl::StatusOr<v1::ServerInfo>)> done) override {
    AskInfo(stub_.get(), &contexts_, timeout, std::move(done));
  }

 private:
  const std::unique_ptr<v1::Prefill::Stub> stub_;
  ClientContexts contexts_;
};

}  // namespace

std::shared_ptr<DecodeClient> NewGrpcDecodeClient(const std::string& address,
                                                  int64_t max_message_bytes) {
  return std::make_shared<GrpcDecodeClient>(address, max_message_bytes);
}

std::shared_ptr<InfoClient> NewGrpcPrefillClient(const std::string& address) {
  return std::make_shared<GrpcPrefillClient>(address);
}

}  // namespace lynx
