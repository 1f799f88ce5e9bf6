#include "gateway/trace_client.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "proto/grpc_call.h"
#include "proto/lynx.grpc.pb.h"

namespace lynx {
namespace {

struct Question {
  // Each holds the channel.
  std::unique_ptr<v1::Decode::Stub> decode;
  std::unique_ptr<v1::Prefill::Stub> prefill;
  std::shared_ptr<grpc::ClientContext> context;
  v1::TraceRequest request;
  v1::TraceReply reply;
};

}  // namespace

TraceClient::TraceClient(TracedRole role, const std::string& address)
    : role_(role), channel_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())) {}

void TraceClient::Ask(const std::string& request_id, absl::Duration timeout,
                      std::function<void(absl::StatusOr<v1::TraceReply>)> done) {
  auto question = std::make_shared<Question>();
  question->context = contexts_.New();
  question->context->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  question->request.set_request_id(request_id);
  const auto answered = [question, done = std::move(done)](const grpc::Status& status) {
    question->decode.reset();
    question->prefill.reset();
    question->context.reset();  // last: the client waits for it
    if (status.ok()) {
      done(std::move(question->reply));
    } else {
      done(FromGrpc(status));
    }
  };
  grpc::ClientContext* const context = question->context.get();
  if (role_ == TracedRole::kDecode) {
    question->decode = v1::Decode::NewStub(channel_);
    question->decode->async()->Trace(context, &question->request, &question->reply, answered);
  } else {
    question->prefill = v1::Prefill::NewStub(channel_);
    question->prefill->async()->Trace(context, &question->request, &question->reply, answered);
  }
}

}  // namespace lynx
