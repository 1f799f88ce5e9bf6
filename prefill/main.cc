// lynx-prefill: computes prompts and sends their KV to decode servers.
#include <spdlog/spdlog.h>

#include "prefill/server.h"
#include "proto/role_main.h"
#include "proto/role_options.h"

int main(int argc, char** argv) {
  const lynx::ShutdownSignal signal;
  int exit_code = 0;
  const std::optional<lynx::Config> config =
      lynx::ConfigFromCommandLine("prefill", argc, argv, &exit_code);
  if (!config) return exit_code;
  const auto start = [&]() -> absl::StatusOr<std::unique_ptr<lynx::prefill::Server>> {
    ASSIGN_OR_RETURN(const auto options, lynx::prefill::MakeServerOptions(*config));
    return lynx::prefill::Server::Start(options);
  };
  auto server = start();
  if (!server.ok()) {
    spdlog::error("start_failed error=\"{}\"", std::string(server.status().message()));
    return 1;
  }
  const std::string& host = config->prefill.listen_address;
  spdlog::info("ready address={} data_address={}", lynx::JoinHostPort(host, (*server)->port()),
               lynx::JoinHostPort(host, (*server)->data_port()));
  lynx::ServeUntilSignal(signal, **server, std::chrono::seconds(config->prefill.drain_timeout_s));
  return 0;
}
