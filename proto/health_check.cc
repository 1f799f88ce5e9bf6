#include "proto/health_check.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <vector>

#include "proto/grpc_call.h"

namespace lynx {
namespace {

// Field 1, a varint; left out if it is 0.
absl::StatusOr<HealthStatus> ParseAnswer(const grpc::ByteBuffer& answer) {
  std::vector<grpc::Slice> slices;
  if (!answer.Dump(&slices).ok()) return absl::InternalError("the answer cannot be read");
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  if (bytes.empty()) return HealthStatus::kUnknown;
  if (bytes.size() != 2 || bytes[0] != 8 || bytes[1] < 0 || bytes[1] > 3) {
    return absl::InternalError("the answer is not one of grpc.health.v1");
  }
  return static_cast<HealthStatus>(bytes[1]);
}

}  // namespace

// Debian does not install the service's messages: the request is empty, the answer has one field.
absl::StatusOr<HealthStatus> CheckHealth(const std::string& address, Nanos timeout) {
  grpc::GenericStub stub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  grpc::CompletionQueue queue;
  grpc::ByteBuffer answer;
  grpc::Status status;
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check",
                                    grpc::ByteBuffer(nullptr, 0), &queue);
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) return FromGrpc(status);
  return ParseAnswer(answer);
}

}  // namespace lynx
