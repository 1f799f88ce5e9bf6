// What prefill and decode servers are made of alike: a model, an engine thread, a service and its
// gRPC host; and the order of their end.
#pragma once

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "kernels/ops.h"
#include "model/backend.h"
#include "model/device.h"
#include "model/kv_sequence.h"
#include "model/loader.h"
#include "proto/grpc_host.h"
#include "proto/lynx.pb.h"
#include "proto/role_options.h"
#include "runtime/engine_thread.h"
#include "runtime/request_trace.h"
#include "runtime/status.h"
#include "runtime/work_progress.h"

namespace lynx {

struct EngineServerOptions {
  std::string model;  // a GGUF file or a Hugging Face folder
  int threads = 1;
  DeviceOptions device;
  std::string listen_host = "127.0.0.1";
  int64_t port = 0;          // of the control plane; 0: any
  int64_t metrics_port = 0;  // GET /metrics at listen_host; 0: any, -1: none
  bool vllm_metrics = true;
  // A step of the engine that takes longer makes the server's health NOT_SERVING until it ends.
  Nanos stall_timeout = std::chrono::seconds(120);
  WorkProgress* load_progress = nullptr;  // of loading the model; may be null
  TraceLimits trace;
  bool log_requests = true;  // a line for each request that ends
};

// A model that is ready to be computed with, and what its server says of itself.
struct ServedModel {
  LoadedModel model;
  const Kernels& kernels;
  v1::ServerInfo info;
  std::unique_ptr<Backend> gpu{};  // null: the CPU computes. The model's weights are with it.

  // For the one engine; outlived by this. Thread: the pool's owner.
  std::unique_ptr<Backend> TakeBackend(ThreadPool& pool);
};

// Takes seconds. max_context 0: the model's. Errors name the model.
absl::StatusOr<ServedModel> LoadServedModel(const EngineServerOptions& options, const char* role,
                                            KvTarget target, int64_t max_context);

// Thread: its owner's, but for what says otherwise.
template <typename Engine, typename Service>
class EngineServer {
 public:
  explicit EngineServer(const EngineServerOptions& options)
      : options_(options), traces_(options.trace) {}
  ~EngineServer() { Stop(); }

  // From any thread: the engine has something new to do.
  void Wake() { wakeup_.Notify(); }
  const Clock& clock() const { return clock_; }
  TraceBook& traces() { return traces_; }

  void StartEngine(const typename EngineThread<Engine>::Make& make) {
    thread_ = std::make_unique<EngineThread<Engine>>(options_.threads, clock_, wakeup_, make);
  }
  // After StartEngine. UNAVAILABLE: cannot listen.
  absl::Status Serve(const GrpcHostOptions& host, std::unique_ptr<Service> service) {
    service_ = std::move(service);
    ASSIGN_OR_RETURN(host_, GrpcHost::Start(host, service_.get()));
    host_->WatchHealth([this] { return progressing(); },
                       std::min<Nanos>(options_.stall_timeout / 4, std::chrono::seconds(1)));
    return absl::OkStatus();
  }

  Engine& engine() const { return thread_->engine(); }
  int port() const { return host_->port(); }
  int64_t open_calls() const { return service_->open_calls(); }

  // For the service manager: a step of the engine that lasts too long is no progress.
  bool progressing() const { return !thread_->Stalled(options_.stall_timeout); }
  std::string activity() const {
    const auto stats = engine().stats();
    return absl::StrCat(stats.running, " requests running, ", stats.waiting, " waiting");
  }

  // What Info says beside the engine's load; the same as gRPC's health. Any thread, after Serve
  // has begun.
  void FillCondition(v1::ServerInfo* info) const {
    info->set_draining(draining_);
    info->set_stalled(!progressing());
  }

  // Not serving, no new requests; what is in flight goes on.
  void Drain() {
    draining_ = true;
    engine().Drain();
    host_->Drain();
  }

  // Ends what still runs, with UNAVAILABLE. The engine's memory stays until the destructor, so that
  // the channels that use it can be closed in between. Once or more.
  void Stop() {
    if (thread_ != nullptr) {
      engine().Drain();
      thread_->Stop();
    }
    if (service_ != nullptr) {
      service_->EndCalls(absl::UnavailableError("this server is shutting down"));
    }
    if (host_ != nullptr) host_->Stop(kLastWords);
  }

 private:
  // For calls that were ended to send their status.
  static constexpr std::chrono::milliseconds kLastWords{500};

  const EngineServerOptions options_;
  const SteadyClock clock_;
  TraceBook traces_;
  Wakeup wakeup_;
  std::atomic<bool> draining_{false};
  std::unique_ptr<EngineThread<Engine>> thread_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<GrpcHost> host_;
};

}  // namespace lynx
