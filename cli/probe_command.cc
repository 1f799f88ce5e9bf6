// `lynx probe`: for health checks of containers that have no shell.
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "cli/command.h"
#include "cli/http_probe.h"
#include "proto/health_check.h"

namespace lynx {
namespace {

struct Arguments {
  std::string url;
  double timeout_s = 2;
};

struct Target {
  bool grpc = false;
  std::string host;
  int64_t port = 0;
  std::string authority;  // host:port as they were written
  std::string path;       // of HTTP
};

absl::StatusOr<Target> ParseTarget(const std::string& url) {
  const absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat(url, ": neither http://HOST:PORT/PATH nor grpc://HOST:PORT"));
  Target target;
  target.grpc = absl::StartsWith(url, "grpc://");
  if (!target.grpc && !absl::StartsWith(url, "http://")) return wrong;
  const std::string rest = url.substr(sizeof("http://") - 1);
  const size_t slash = std::min(rest.find('/'), rest.size());
  target.authority = rest.substr(0, slash);
  target.path = slash == rest.size() ? "/" : rest.substr(slash);
  const size_t colon = target.authority.rfind(':');
  if (colon == std::string::npos || (target.grpc && target.path != "/")) return wrong;
  target.host = target.authority.substr(0, colon);
  if (target.host.size() > 2 && target.host.front() == '[' && target.host.back() == ']') {
    target.host = target.host.substr(1, target.host.size() - 2);
  }
  if (!absl::SimpleAtoi(target.authority.substr(colon + 1), &target.port) || target.port < 1 ||
      target.port > 65535 || target.host.empty()) {
    return wrong;
  }
  return target;
}

absl::Status ProbeGrpc(const Target& target, Nanos timeout) {
  ASSIGN_OR_RETURN(const HealthStatus health, CheckHealth(target.authority, timeout));
  if (health == HealthStatus::kServing) return absl::OkStatus();
  return absl::UnavailableError("its gRPC health is not SERVING");
}

absl::Status ProbeHttp(const Target& target, Nanos timeout) {
  const int code = HttpGetStatus(target.host, target.port, target.path, timeout);
  if (code >= 200 && code < 300) return absl::OkStatus();
  return absl::UnavailableError(code == 0 ? "it does not answer"
                                          : absl::StrCat("it answers ", code));
}

absl::Status Probe(const Arguments& a) {
  ASSIGN_OR_RETURN(const Target target, ParseTarget(a.url));
  const Nanos timeout(static_cast<int64_t>(a.timeout_s * 1e9));
  const absl::Status status = target.grpc ? ProbeGrpc(target, timeout) : ProbeHttp(target, timeout);
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
