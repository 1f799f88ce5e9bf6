// lynx-decode: owns requests, from admission to their last token.
#include "decode/server.h"

namespace lynx::decode {
namespace {

absl::StatusOr<RunningRole> StartRole(const Config& config, WorkProgress& progress) {
  ASSIGN_OR_RETURN(ServerOptions options, MakeServerOptions(config));
  options.load_progress = &progress;
  ASSIGN_OR_RETURN(std::unique_ptr<Server> server, Server::Start(options));
  std::string address =
      absl::StrCat("address=", JoinHostPort(config.decode.listen_address, server->port()),
                   MetricsAddress(config.decode.listen_address, server->metrics_port()),
                   " channel=", ToAbsl(ChannelName(options.channel)));
  return RunningRole{std::move(server), std::move(address),
                     std::chrono::seconds(config.decode.drain_timeout_s)};
}

}  // namespace
}  // namespace lynx::decode

int main(int argc, char** argv) {
  return lynx::RoleMain("decode", argc, argv, lynx::decode::StartRole);
}
