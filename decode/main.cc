// lynx-decode: owns requests, from admission to their last token.
#include <spdlog/spdlog.h>

#include "decode/server.h"
#include "proto/role_main.h"
#include "proto/role_options.h"

int main(int argc, char** argv) {
  const lynx::ShutdownSignal signal;
  int exit_code = 0;
  const std::optional<lynx::Config> config =
      lynx::ConfigFromCommandLine("decode", argc, argv, &exit_code);
  if (!config) return exit_code;
  const auto start = [&]() -> absl::StatusOr<std::unique_ptr<lynx::decode::Server>> {
    ASSIGN_OR_RETURN(const auto options, lynx::decode::MakeServerOptions(*config));
    return lynx::decode::Server::Start(options);
  };
  auto server = start();
  if (!server.ok()) {
    spdlog::error("start_failed error=\"{}\"", std::string(server.status().message()));
    return 1;
  }
  spdlog::info("ready address={}",
               lynx::JoinHostPort(config->decode.listen_address, (*server)->port()));
  lynx::ServeUntilSignal(signal, **server, std::chrono::seconds(config->decode.drain_timeout_s));
  return 0;
}
