// lynx-gateway: the OpenAI API in front of decode and prefill servers.
#include <spdlog/spdlog.h>

#include "gateway/model_text.h"
#include "gateway/options_from_config.h"
#include "gateway/server.h"
#include "proto/role_main.h"
#include "proto/role_options.h"
#include "runtime/status.h"

namespace lynx {
namespace {

absl::StatusOr<std::unique_ptr<GatewayServer>> StartGateway(const Config& config) {
  if (config.model.empty()) {
    return absl::InvalidArgumentError(
        "no model is configured: set `model` to the servers' GGUF file or Hugging Face folder");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<const TextModel> model, LoadTextModel(config.model));
  ASSIGN_OR_RETURN(
      std::unique_ptr<GatewayServer> server,
      GatewayServer::Create(GatewayOptionsFromConfig(config.gateway), std::move(model)));
  RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace
}  // namespace lynx

int main(int argc, char** argv) {
  const lynx::ShutdownSignal signal;
  int exit_code = 0;
  const std::optional<lynx::Config> config =
      lynx::ConfigFromCommandLine("gateway", argc, argv, &exit_code);
  if (!config) return exit_code;
  const auto server = lynx::StartGateway(*config);
  if (!server.ok()) {
    spdlog::error("start_failed error=\"{}\"", std::string(server.status().message()));
    return 1;
  }
  spdlog::info("ready address={}",
               lynx::JoinHostPort(config->gateway.listen_address, (*server)->port()));
  const int number = signal.Wait();
  spdlog::info("draining signal={} limit_s={}", number, config->gateway.drain_timeout_s);
  (*server)->Shutdown();
  return 0;
}
