// v1::Decode over gRPC: carries each request's events from the engine to its call.
#pragma once

#include <cstdint>
#include <functional>

#include "decode/engine.h"
#include "proto/call_count.h"
#include "proto/lynx.grpc.pb.h"
#include "proto/outbox_table.h"
#include "runtime/clock.h"

namespace lynx::decode {

// What the engine says of its requests, kept for their calls. Needed before the engine exists.
class RequestOutboxes final : public RequestSink {
 public:
  RequestOutboxes();
  bool OnEvent(RequestId request, v1::GenerateEvent event) override;
  void OnFinished(RequestId request, const absl::Status& status) override;

  OutboxTable<RequestId, v1::GenerateEvent>& table() { return table_; }

 private:
  OutboxTable<RequestId, v1::GenerateEvent> table_;
};

struct ServiceOptions {
  v1::ServerInfo info;                             // its unchanging part
  std::function<void(v1::ServerInfo*)> condition;  // adds whether it drains or stalls; any thread
  const TraceBook* traces = nullptr;               // outlives the service; null: nothing is traced
  int64_t page_bytes = 1;  // of a prompt page at the target, pages_total's unit
  Nanos request_time_max = std::chrono::hours(1);  // of a request whose call has no deadline
};

// Threads: any (gRPC's).
class Service final : public v1::Decode::CallbackService {
 public:
  // Everything given outlives the service, which outlives its gRPC server.
  Service(const ServiceOptions& options, Engine& engine, RequestOutboxes& outboxes,
          const Clock& clock);
  ~Service() override;  // waits until the last call is gone: end them first

  // Ends every request, those too that come later. After the engine has stopped.
  void EndCalls(const absl::Status& why) { outboxes_.table().CloseAll(why); }
  int64_t open_calls() const { return calls_.open(); }

  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context,
                                 const v1::InfoRequest* request, v1::ServerInfo* reply) override;
  grpc::ServerUnaryReactor* Trace(grpc::CallbackServerContext* context,
                                  const v1::TraceRequest* request, v1::TraceReply* reply) override;

 private:
  class GenerateCall;

  const ServiceOptions options_;
  Engine& engine_;
  RequestOutboxes& outboxes_;
  const Clock& clock_;
  CallCount calls_;
};

}  // namespace lynx::decode
