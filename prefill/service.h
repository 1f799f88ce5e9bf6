// v1::Prefill over gRPC: lets decode servers join, and carries each run's messages between its call
// and the engine.
#pragma once

#include <cstdint>
#include <functional>

#include "model/model_config.h"
#include "prefill/engine.h"
#include "proto/call_count.h"
#include "proto/lynx.grpc.pb.h"
#include "proto/outbox_table.h"
#include "runtime/clock.h"
#include "transfer/data_plane.h"

namespace lynx::prefill {

// What the engine says of its runs, kept for their calls. Needed before the engine exists.
class RunOutboxes final : public RunSink {
 public:
  RunOutboxes();
  void OnMessage(RunId run, v1::PrefillToDecode message) override;
  void OnFinished(RunId run, const absl::Status& status) override;

  OutboxTable<RunId, v1::PrefillToDecode>& table() { return table_; }

 private:
  OutboxTable<RunId, v1::PrefillToDecode> table_;
};

struct ServiceOptions {
  v1::ServerInfo info;                             // its unchanging part
  std::function<void(v1::ServerInfo*)> condition;  // adds whether it drains or stalls; any thread
  const TraceBook* traces = nullptr;               // outlives the service; null: nothing is traced
  int64_t page_bytes = 1;  // of a prompt page at its target, in pages_total's unit
  std::string data_host;   // told to those who join; empty: the one they called
  ChannelKind channel = ChannelKind::kTcp;
  int64_t calls_max = 0;  // open runs, with those that have not said yet what they want
  Nanos run_time_max = std::chrono::hours(1);  // of a run whose call has no deadline
};

// Threads: any (gRPC's).
class Service final : public v1::Prefill::CallbackService {
 public:
  // Everything given outlives the service, which outlives its gRPC server.
  Service(const ServiceOptions& options, Engine& engine, RunOutboxes& outboxes, DataServer& data,
          const Clock& clock);
  ~Service() override;  // waits until the last call is gone: end them first

  // Ends every run, those too that come later. After the engine has stopped.
  void EndCalls(const absl::Status& why) { outboxes_.table().CloseAll(why); }
  int64_t open_calls() const { return calls_.open(); }

  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context,
                                 const v1::JoinRequest* request, v1::JoinReply* reply) override;
  grpc::ServerBidiReactor<v1::DecodeToPrefill, v1::PrefillToDecode>* Run(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context,
                                 const v1::InfoRequest* request, v1::ServerInfo* reply) override;
  grpc::ServerUnaryReactor* Trace(grpc::CallbackServerContext* context,
                                  const v1::TraceRequest* request, v1::TraceReply* reply) override;

 private:
  class RunCall;

  absl::Status CompareChannel(const v1::JoinRequest& request) const;
  absl::Status DoJoin(const v1::JoinRequest& request, v1::JoinReply* reply);

  const ServiceOptions options_;
  Engine& engine_;
  RunOutboxes& outboxes_;
  DataServer& data_;
  const Clock& clock_;
  CallCount calls_;
};

}  // namespace lynx::prefill
