#include "prefill/server.h"

#include "model/kv_format.h"
#include "prefill/metrics.h"
#include "prefill/service.h"
#include "proto/engine_metrics.h"
#include "proto/engine_service.h"
#include "transfer/open_data_plane.h"

namespace lynx::prefill {
namespace {

// What one more full page of a prompt takes at this target.
absl::StatusOr<int64_t> PageBytes(const ModelConfig& config, KvTarget target) {
  Run run;
  ASSIGN_OR_RETURN(run.geometry, MakeKvGeometry(config, target, KvSplit{}));
  run.request.mutable_prompt()->Resize(kPageTokens, 0);
  const size_t one = RunBytes(run);
  run.request.mutable_prompt()->Resize(2 * kPageTokens, 0);
  return static_cast<int64_t>(RunBytes(run) - one);
}

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, ServedModel served)
      : options_(options),
        served_(std::move(served)),
        sender_(options.send, [this] { core_.Wake(); }),
        core_(options) {}
  ~ServerImpl() override;

  absl::Status Start();

  int port() const override { return core_.port(); }
  int metrics_port() const override { return metrics_ != nullptr ? metrics_->port() : -1; }
  int data_port() const override { return data_->port(); }
  const v1::Identity& identity() const override { return served_.info.identity(); }
  void Drain() override { core_.Drain(); }
  int64_t open_calls() const override { return core_.open_calls(); }
  bool progressing() const override { return core_.progressing(); }
  std::string activity() const override { return core_.activity(); }
  EngineStats stats() const override { return core_.engine().stats(); }

 private:
  void StartEngine();
  std::string MetricsText(int64_t page_bytes) const;

  const ServerOptions options_;
  ServedModel served_;
  RunOutboxes outboxes_;
  Sender sender_;
  EngineServer<Engine, Service> core_;
  std::unique_ptr<DataServer> data_;        // ends before the engine, whose memory it reads
  std::unique_ptr<MetricsServer> metrics_;  // asks all of the above
};

void ServerImpl::StartEngine() {
  core_.StartEngine([this](ThreadPool& pool) {
    EngineOptions options = options_.engine;
    options.traces = &core_.traces();
    options.log_requests = options_.log_requests;
    return std::make_unique<Engine>(options, served_.model.config, served_.TakeBackend(pool),
                                    core_.clock(), sender_, outboxes_, [this] { core_.Wake(); });
  });
}

absl::Status ServerImpl::Start() {
  ASSIGN_OR_RETURN(const int64_t page_bytes,
                   PageBytes(served_.model.config, options_.engine.target));
  StartEngine();
  DataServerOptions data = options_.data;
  data.incarnation = served_.info.incarnation();
  ASSIGN_OR_RETURN(data_, OpenDataServer(options_.channel, data, &sender_));
  const GrpcHostOptions host = MakeGrpcHostOptions(
      options_.listen_host, options_.port, served_.info.max_context(), options_.engine.queue_limit);
  const ServiceOptions service{
      .info = served_.info,
      .condition = [this](v1::ServerInfo* info) { core_.FillCondition(info); },
      .traces = &core_.traces(),
      .page_bytes = page_bytes,
      .data_host = options_.data_host,
      .channel = options_.channel,
      .calls_max = host.concurrent_calls_max};
  ASSIGN_OR_RETURN(metrics_, StartMetricsServer(
                                 options_, [this, page_bytes] { return MetricsText(page_bytes); }));
  return core_.Serve(
      host, std::make_unique<Service>(service, core_.engine(), outboxes_, *data_, core_.clock()));
}

std::string ServerImpl::MetricsText(int64_t page_bytes) const {
  MetricsSnapshot now{.info = served_.info,
                      .engine = core_.engine().stats(),
                      .measures = core_.engine().measures(),
                      .sender = sender_.stats(),
                      .data = data_->stats()};
  FillLoad(now.engine, page_bytes, &now.info);
  MetricFamilies families = MakeMetricFamilies(now);
  if (options_.vllm_metrics) families.AddVllmNames(now.info.model_name());
  return families.Text();
}

ServerImpl::~ServerImpl() {
  metrics_ = nullptr;
  core_.Stop();
  if (data_ != nullptr && !data_->Close()) ExitStuck();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  ASSIGN_OR_RETURN(ServedModel served, LoadServedModel(options, "prefill", options.engine.target,
                                                       options.engine.max_context));
  auto server = std::make_unique<ServerImpl>(options, std::move(served));
  RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace lynx::prefill
