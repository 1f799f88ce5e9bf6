#include "decode/server.h"

#include <spdlog/spdlog.h>

#include "decode/grpc_prefill_client.h"
#include "decode/peers.h"
#include "decode/service.h"
#include "model/loader.h"
#include "proto/grpc_host.h"
#include "proto/identity.h"
#include "proto/role_options.h"
#include "runtime/engine_thread.h"
#include "transfer/ticket.h"

namespace lynx::decode {
namespace {

// For calls that were ended to send their status.
constexpr std::chrono::milliseconds kLastWords{500};

// What one more full page of a prompt takes. INVALID_ARGUMENT: a split that is not possible.
absl::StatusOr<int64_t> PageBytes(const ModelConfig& config, const EngineOptions& options) {
  ASSIGN_OR_RETURN(const KvGeometry geometry,
                   MakeKvGeometry(config, options.target, options.split));
  return static_cast<int64_t>(KvSequence::BytesNeeded(geometry, 2, 2 * kPageTokens) -
                              KvSequence::BytesNeeded(geometry, 1, kPageTokens));
}

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, LoadedModel model, const Kernels& kernels)
      : options_(options),
        model_(std::move(model)),
        kernels_(kernels),
        receiver_([this] { wakeup_.Notify(); }) {}
  ~ServerImpl() override;

  absl::Status Start();

  int port() const override { return host_->port(); }
  const v1::Identity& identity() const override { return info_.identity(); }
  void Drain() override;
  int64_t open_calls() const override { return service_->open_calls(); }
  EngineStats stats() const override { return engine_->engine().stats(); }

 private:
  void FillInfo();
  absl::Status StartPeers();
  void StartEngine();

  const ServerOptions options_;
  const LoadedModel model_;
  const Kernels& kernels_;
  const SteadyClock clock_;
  v1::ServerInfo info_;
  Wakeup wakeup_;
  Receiver receiver_;
  RequestOutboxes outboxes_;
  std::unique_ptr<TcpClient> data_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<EngineThread<Engine>> engine_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<GrpcHost> host_;
};

void ServerImpl::FillInfo() {
  *info_.mutable_identity() =
      MakeIdentity(model_.config, model_.weights.hash, options_.engine.target);
  info_.set_role("decode");
  info_.set_incarnation(RandomIncarnation());
  info_.set_model_name(model_.config.name);
  info_.set_max_context(options_.engine.max_context > 0 ? options_.engine.max_context
                                                        : model_.config.max_context);
}

absl::Status ServerImpl::StartPeers() {
  const TcpClientOptions tcp{.tcp = options_.tcp,
                             .incarnation = info_.incarnation(),
                             .max_sessions = options_.sessions_max};
  ASSIGN_OR_RETURN(data_, TcpClient::Start(tcp, &receiver_));
  PeersOptions peers;
  *peers.join.mutable_identity() = info_.identity();
  peers.join.set_incarnation(info_.incarnation());
  peers_ = std::make_unique<Peers>(peers, NewGrpcPrefillClient, *data_, clock_);
  return absl::OkStatus();
}

void ServerImpl::StartEngine() {
  engine_ = std::make_unique<EngineThread<Engine>>(
      options_.threads, clock_, wakeup_, [this](ThreadPool& pool) {
        auto engine = std::make_unique<Engine>(options_.engine, model_.config, model_.weights,
                                               kernels_, pool, clock_, receiver_, *peers_,
                                               outboxes_, [this] { wakeup_.Notify(); });
        peers_->Bind(engine.get());
        return engine;
      });
}

absl::Status ServerImpl::Start() {
  FillInfo();
  ServiceOptions service{.info = info_};
  ASSIGN_OR_RETURN(service.page_bytes, PageBytes(model_.config, options_.engine));
  RETURN_IF_ERROR(StartPeers());
  StartEngine();
  service_ = std::make_unique<Service>(service, engine_->engine(), outboxes_, clock_);
  ASSIGN_OR_RETURN(
      host_, GrpcHost::Start(MakeGrpcHostOptions(options_.listen_host, options_.port,
                                                 info_.max_context(), options_.engine.queue_limit),
                             service_.get()));
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
    service_->EndCalls(absl::UnavailableError("this decode server is shutting down"));
  }
  if (host_ != nullptr) host_->Stop(kLastWords);
  if (peers_ != nullptr) peers_->Close();
  data_.reset();  // before the engine, whose memory it writes into
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  const Kernels* kernels = SelectKernels();
  if (kernels == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  ASSIGN_OR_RETURN(LoadedModel model, LoadModel(options.model));
  auto server = std::make_unique<ServerImpl>(options, std::move(model), *kernels);
  RETURN_IF_ERROR(server->Start());
  spdlog::info("decode_started model={} kernels={} threads={} identity={}", options.model,
               kernels->name, options.threads, ToString(server->identity()));
  return server;
}

}  // namespace lynx::decode
