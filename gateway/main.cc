// lynx-gateway: the OpenAI API in front of decode and prefill servers.
#include "gateway/model_text.h"
#include "gateway/options_from_config.h"
#include "gateway/server.h"
#include "proto/role_main.h"
#include "proto/role_options.h"
#include "runtime/status.h"

namespace lynx {
namespace {

absl::StatusOr<RunningRole> StartGateway(const Config& config, WorkProgress& /*progress*/) {
  if (config.model.empty()) {
    return absl::InvalidArgumentError(
        "no model is configured: set `model` to the servers' GGUF file or Hugging Face folder");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<const TextModel> model, LoadTextModel(config.model));
  ASSIGN_OR_RETURN(std::unique_ptr<GatewayServer> server,
                   GatewayServer::Create(GatewayOptionsFromConfig(config), std::move(model)));
  RETURN_IF_ERROR(server->Start());
  std::string address =
      absl::StrCat("address=", JoinHostPort(config.gateway.listen_address, server->port()));
  return RunningRole{std::move(server), std::move(address),
                     std::chrono::seconds(config.gateway.drain_timeout_s)};
}

}  // namespace
}  // namespace lynx

int main(int argc, char** argv) {
  return lynx::RoleMain("gateway", argc, argv, lynx::StartGateway);
}
