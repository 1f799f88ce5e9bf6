#include "proto/grpc_host.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <spdlog/spdlog.h>

#include <mutex>
#include <utility>

#include "absl/time/time.h"

namespace lynx {
namespace {

// Process-wide settings of gRPC that must come before the first server is built.
void EnablePlugins() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void SetArguments(const GrpcHostOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.receive_message_bytes_max));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                              static_cast<int>(options.concurrent_calls_max));
  // Two servers on one port would each get half of the calls: an error is better.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                              static_cast<int>(options.keepalive_interval.count()));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                              static_cast<int>(options.keepalive_timeout.count()));
  // Peers watch us by frequent pings; the default would take that for an attack.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 100);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
}

}  // namespace

GrpcHost::GrpcHost() = default;

absl::StatusOr<std::unique_ptr<GrpcHost>> GrpcHost::Start(const GrpcHostOptions& options,
                                                          grpc::Service* service) {
  EnablePlugins();
  std::unique_ptr<GrpcHost> host(new GrpcHost);
  grpc::ServerBuilder builder;
  SetArguments(options, &builder);
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &host->port_);
  builder.RegisterService(service);
  host->server_ = builder.BuildAndStart();
  if (host->server_ == nullptr || host->port_ == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen));
  }
  return host;
}

GrpcHost::~GrpcHost() { Stop(std::chrono::milliseconds(0)); }

void GrpcHost::WatchHealth(std::function<bool()> healthy, Nanos interval) {
  watch_ =
      std::thread([this, healthy = std::move(healthy), interval] { Watch(healthy, interval); });
}

void GrpcHost::Watch(const std::function<bool()>& healthy, Nanos interval) {
  absl::MutexLock lock(&mu_);
  while (!stop_) {
    if (!draining_) SetServing(healthy());
    mu_.AwaitWithTimeout(absl::Condition(&stop_), absl::FromChrono(interval));
  }
}

void GrpcHost::SetServing(bool serving) {
  if (serving == std::exchange(serving_, serving)) return;
  server_->GetHealthCheckService()->SetServingStatus(serving);
  spdlog::info("health serving={}", serving);
}

void GrpcHost::Drain() {
  absl::MutexLock lock(&mu_);
  draining_ = true;
  SetServing(false);
}

void GrpcHost::EndWatch() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  if (watch_.joinable()) watch_.join();
}

void GrpcHost::Stop(std::chrono::milliseconds limit) {
  if (server_ == nullptr) return;
  EndWatch();
  server_->Shutdown(std::chrono::system_clock::now() + limit);
  server_->Wait();
  server_.reset();
}

}  // namespace lynx
