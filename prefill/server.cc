#include "prefill/server.h"

#include <spdlog/spdlog.h>

#include "model/loader.h"
#include "prefill/service.h"
#include "proto/identity.h"
#include "proto/role_options.h"
#include "runtime/engine_thread.h"

namespace lynx::prefill {
namespace {

// For calls that were ended to send their status.
constexpr std::chrono::milliseconds kLastWords{500};

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
  ServerImpl(const ServerOptions& options, LoadedModel model, const Kernels& kernels)
      : options_(options),
        model_(std::move(model)),
        kernels_(kernels),
        sender_(options.send, [this] { wakeup_.Notify(); }) {}
  ~ServerImpl() override;

  absl::Status Start();

  int port() const override { return host_->port(); }
  int data_port() const override { return data_->port(); }
  const v1::Identity& identity() const override { return info_.identity(); }
  void Drain() override;
  int64_t open_calls() const override { return service_->open_calls(); }
  EngineStats stats() const override { return engine_->engine().stats(); }

 private:
  void FillInfo();
  void StartEngine();

  const ServerOptions options_;
  const LoadedModel model_;
  const Kernels& kernels_;
  const SteadyClock clock_;
  v1::ServerInfo info_;
  Wakeup wakeup_;
  Sender sender_;
  RunOutboxes outboxes_;
  // The engine goes after the data plane, which reads its memory, the service after the host.
  std::unique_ptr<EngineThread<Engine>> engine_;
  std::unique_ptr<TcpServer> data_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<GrpcHost> host_;
};

void ServerImpl::FillInfo() {
  const int64_t model_context = model_.config.max_context;
  *info_.mutable_identity() =
      MakeIdentity(model_.config, model_.weights.hash, options_.engine.target);
  info_.set_role("prefill");
  info_.set_incarnation(RandomIncarnation());
  info_.set_model_name(model_.config.name);
  info_.set_max_context(options_.engine.max_context > 0 ? options_.engine.max_context
                                                        : model_context);
}

void ServerImpl::StartEngine() {
  engine_ = std::make_unique<EngineThread<Engine>>(
      options_.threads, clock_, wakeup_, [this](ThreadPool& pool) {
        return std::make_unique<Engine>(options_.engine, model_.config, model_.weights, kernels_,
                                        pool, clock_, sender_, outboxes_,
                                        [this] { wakeup_.Notify(); });
      });
}

absl::Status ServerImpl::Start() {
  FillInfo();
  ASSIGN_OR_RETURN(const int64_t page_bytes, PageBytes(model_.config, options_.engine.target));
  StartEngine();
  TcpServerOptions data = options_.data;
  data.incarnation = info_.incarnation();
  ASSIGN_OR_RETURN(data_, TcpServer::Start(data, &sender_));
  const GrpcHostOptions host = MakeGrpcHostOptions(
      options_.listen_host, options_.port, info_.max_context(), options_.engine.queue_limit);
  const ServiceOptions service{.info = info_,
                               .page_bytes = page_bytes,
                               .data_host = options_.data_host,
                               .calls_max = host.concurrent_calls_max};
  service_ = std::make_unique<Service>(service, engine_->engine(), outboxes_, *data_, clock_);
  ASSIGN_OR_RETURN(host_, GrpcHost::Start(host, service_.get()));
  return absl::OkStatus();
}

void ServerImpl::Drain() {
  engine_->engine().Drain();
  host_->SetServing(false);
}

ServerImpl::~ServerImpl() {
  if (engine_ != nullptr) {
    engine_->engine().Drain();
    engine_->Stop();
  }
  if (service_ != nullptr) {
    service_->EndCalls(absl::UnavailableError("this prefill server is shutting down"));
  }
  if (host_ != nullptr) host_->Stop(kLastWords);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  const Kernels* kernels = SelectKernels();
  if (kernels == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  ASSIGN_OR_RETURN(LoadedModel model, LoadModel(options.model));
  auto server = std::make_unique<ServerImpl>(options, std::move(model), *kernels);
  RETURN_IF_ERROR(server->Start());
  spdlog::info("prefill_started model={} kernels={} threads={} identity={}", options.model,
               kernels->name, options.threads, ToString(server->identity()));
  return server;
}

}  // namespace lynx::prefill
