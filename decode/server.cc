#include "decode/server.h"

#include "decode/grpc_prefill_client.h"
#include "decode/metrics.h"
#include "decode/peers.h"
#include "decode/service.h"
#include "model/kv_format.h"
#include "proto/engine_metrics.h"
#include "proto/engine_service.h"
#include "transfer/open_data_plane.h"

namespace lynx::decode {
namespace {

// What one more full page of a prompt takes. INVALID_ARGUMENT: a split that is not possible.
absl::StatusOr<int64_t> PageBytes(const ModelConfig& config, const EngineOptions& options) {
  ASSIGN_OR_RETURN(const KvGeometry geometry,
                   MakeKvGeometry(config, options.target, options.split));
  return static_cast<int64_t>(KvSequence::BytesNeeded(geometry, 2, 2 * kPageTokens) -
                              KvSequence::BytesNeeded(geometry, 1, kPageTokens));
}

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, ServedModel served)
      : options_(options),
        served_(std::move(served)),
        receiver_([this] { core_.Wake(); }, &clock_),
        core_(options) {}
  ~ServerImpl() override;

  absl::Status Start();

  int port() const override { return core_.port(); }
  int metrics_port() const override { return metrics_ != nullptr ? metrics_->port() : -1; }
  const v1::Identity& identity() const override { return served_.info.identity(); }
  void Drain() override { core_.Drain(); }
  int64_t open_calls() const override { return core_.open_calls(); }
  bool progressing() const override { return core_.progressing(); }
  std::string activity() const override { return core_.activity(); }
  EngineStats stats() const override { return core_.engine().stats(); }

 private:
  absl::Status StartPeers();
  void StartEngine();
  std::string MetricsText(int64_t page_bytes) const;

  const ServerOptions options_;
  ServedModel served_;
  const SteadyClock clock_;
  RequestOutboxes outboxes_;
  Receiver receiver_;
  EngineServer<Engine, Service> core_;
  std::unique_ptr<DataClient> data_;  // ends before the engine, whose memory it writes into
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<MetricsServer> metrics_;  // asks all of the above
};

absl::Status ServerImpl::StartPeers() {
  DataClientOptions data = options_.data;
  data.incarnation = served_.info.incarnation();
  ASSIGN_OR_RETURN(data_, OpenDataClient(options_.channel, data, &receiver_));
  PeersOptions peers;
  *peers.join.mutable_identity() = served_.info.identity();
  peers.join.set_incarnation(served_.info.incarnation());
  peers.join.set_channel(std::string(ChannelName(options_.channel)));
  peers_ = std::make_unique<Peers>(peers, NewGrpcPrefillClient, *data_, core_.clock());
  return absl::OkStatus();
}

void ServerImpl::StartEngine() {
  core_.StartEngine([this](ThreadPool& pool) {
    EngineOptions options = options_.engine;
    options.traces = &core_.traces();
    options.log_requests = options_.log_requests;
    auto engine = std::make_unique<Engine>(options, served_.model.config, served_.TakeBackend(pool),
                                           core_.clock(), receiver_, *peers_, outboxes_,
                                           [this] { core_.Wake(); });
    peers_->Bind(engine.get());
    return engine;
  });
}

absl::Status ServerImpl::Start() {
  ServiceOptions service{.info = served_.info,
                         .condition = [this](v1::ServerInfo* info) { core_.FillCondition(info); },
                         .traces = &core_.traces()};
  ASSIGN_OR_RETURN(service.page_bytes, PageBytes(served_.model.config, options_.engine));
  RETURN_IF_ERROR(StartPeers());
  StartEngine();
  ASSIGN_OR_RETURN(metrics_, StartMetricsServer(options_, [this, bytes = service.page_bytes] {
                     return MetricsText(bytes);
                   }));
  return core_.Serve(MakeGrpcHostOptions(options_.listen_host, options_.port,
                                         served_.info.max_context(), options_.engine.queue_limit),
                     std::make_unique<Service>(service, core_.engine(), outboxes_, core_.clock()));
}

std::string ServerImpl::MetricsText(int64_t page_bytes) const {
  MetricsSnapshot now{.info = served_.info,
                      .engine = core_.engine().stats(),
                      .measures = core_.engine().measures(),
                      .receiver = receiver_.stats(),
                      .data = data_->stats(),
                      .joins = peers_->joins().value(),
                      .failed_joins = peers_->failed_joins().value()};
  FillLoad(now.engine, page_bytes, &now.info);
  MetricFamilies families = MakeMetricFamilies(now);
  if (options_.vllm_metrics) families.AddVllmNames(now.info.model_name());
  return families.Text();
}

ServerImpl::~ServerImpl() {
  metrics_ = nullptr;
  core_.Stop();
  if (peers_ != nullptr) peers_->Close();
  if (data_ != nullptr && !data_->Close()) ExitStuck();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  ASSIGN_OR_RETURN(ServedModel served, LoadServedModel(options, "decode", options.engine.target,
                                                       options.engine.max_context));
  auto server = std::make_unique<ServerImpl>(options, std::move(served));
  RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace lynx::decode
