// `lynx probe`: for health checks of containers that have no shell.
#include <memory>

#include "cli/command.h"
#include "cli/http_get.h"
#include "cli/server_url.h"
#include "proto/health_check.h"

namespace lynx {
namespace {

struct Arguments {
  std::string url;
  double timeout_s = 2;
};

absl::Status ProbeGrpc(const ServerUrl& target, Nanos timeout) {
  ASSIGN_OR_RETURN(const HealthStatus health, CheckHealth(target.authority, timeout));
  if (health == HealthStatus::kServing) return absl::OkStatus();
  return absl::UnavailableError("its gRPC health is not SERVING");
}

absl::Status ProbeHttp(const ServerUrl& target, Nanos timeout) {
  const int code = HttpGetStatus(target.host, target.port, target.path, timeout);
  if (code >= 200 && code < 300) return absl::OkStatus();
  return absl::UnavailableError(code == 0 ? "it does not answer"
                                          : absl::StrCat("it answers ", code));
}

absl::Status Probe(const Arguments& a) {
  ASSIGN_OR_RETURN(const ServerUrl target, ParseServerUrl(a.url));
  const Nanos timeout(static_cast<int64_t>(a.timeout_s * 1e9));
  const absl::Status status =
      target.scheme == "grpc" ? ProbeGrpc(target, timeout) : ProbeHttp(target, timeout);
  return status.ok() ? status : Annotate(status, a.url);
}

}  // namespace

void AddProbeCommand(CLI::App& app, CommandRun* run) {
  auto a = std::make_shared<Arguments>();
  CLI::App* probe = app.add_subcommand(
      "probe", "Ask a server how it is: exit code 0 if it is well, for containers' health checks");
  probe
      ->add_option("url", a->url,
                   "http://HOST:PORT/PATH (any 2xx is well) or grpc://HOST:PORT (gRPC health)")
      ->required();
  probe->add_option("--timeout", a->timeout_s, "Seconds to wait for the answer")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 3600.0));
  probe->callback([=] { *run = [a] { return Probe(*a); }; });
}

}  // namespace lynx
