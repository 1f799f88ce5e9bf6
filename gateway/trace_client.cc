#include "gateway/trace_client.h"

#include <grpcpp/grpcpp.h>

#include <memory>
#include <utility>

#include "proto/grpc_call.h"
#include "proto/lynx.grpc.pb.h"

namespace lynx {
namespace {

// Holds itself until gRPC is done with it.
struct Question {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Decode::Stub> decode;
  std::unique_ptr<v1::Prefill::Stub> prefill;
  grpc::ClientContext context;
  v1::TraceRequest request;
  v1::TraceReply reply;
};

}  // namespace

void AskTrace(TracedRole role, const std::string& address, const std::string& request_id,
              absl::Duration timeout, std::function<void(absl::StatusOr<v1::TraceReply>)> done) {
  auto question = std::make_shared<Question>();
  question->channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  question->context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  question->request.set_request_id(request_id);
  const auto answered = [question, done = std::move(done)](const grpc::Status& status) {
    if (status.ok()) {
      done(std::move(question->reply));
    } else {
      done(FromGrpc(status));
    }
  };
  if (role == TracedRole::kDecode) {
    question->decode = v1::Decode::NewStub(question->channel);
    question->decode->async()->Trace(&question->context, &question->request, &question->reply,
                                     answered);
  } else {
    question->prefill = v1::Prefill::NewStub(question->channel);
    question->prefill->async()->Trace(&question->context, &question->request, &question->reply,
                                      answered);
  }
}

}  // namespace lynx
