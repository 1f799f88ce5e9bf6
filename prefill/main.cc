// lynx-prefill: computes prompts and sends their KV to decode servers.
#include "prefill/server.h"

namespace lynx::prefill {
namespace {

absl::StatusOr<RunningRole> StartRole(const Config& config, WorkProgress& progress) {
  ASSIGN_OR_RETURN(ServerOptions options, MakeServerOptions(config));
  options.load_progress = &progress;
  ASSIGN_OR_RETURN(std::unique_ptr<Server> server, Server::Start(options));
  const std::string& host = config.prefill.listen_address;
  std::string addresses = absl::StrCat("address=", JoinHostPort(host, server->port()),
                                       " data_address=", JoinHostPort(host, server->data_port()),
                                       MetricsAddress(host, server->metrics_port()),
                                       " channel=", ToAbsl(ChannelName(options.channel)));
  return RunningRole{std::move(server), std::move(addresses),
                     std::chrono::seconds(config.prefill.drain_timeout_s)};
}

}  // namespace
}  // namespace lynx::prefill

int main(int argc, char** argv) {
  return lynx::RoleMain("prefill", argc, argv, lynx::prefill::StartRole);
}
