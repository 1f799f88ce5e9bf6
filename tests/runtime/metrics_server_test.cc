#include "runtime/metrics_server.h"

#include "tests/runtime/http_get.h"

namespace lynx {
namespace {

std::unique_ptr<MetricsServer> Serve(const MetricsServerOptions& options) {
  auto server = MetricsServer::Start(options, [] { return std::string("a 1\n"); });
  if (!server.ok()) FAIL(server.status().message());
  return *std::move(server);
}

bool StartsWith(const std::string& text, std::string_view head) {
  return std::string_view(text).substr(0, head.size()) == head;
}

}  // namespace

TEST_CASE("metrics server: GET /metrics, and nothing else") {
  const auto server = Serve({});
  for (const std::string path : {"/metrics", "/metrics?name[]=a"}) {
    const std::string answer = HttpGet(server->port(), path);
    CHECK(StartsWith(answer, "HTTP/1.1 200"));
    CHECK(answer.find("text/plain; version=0.0.4") != std::string::npos);
    CHECK(answer.substr(answer.size() - 8) == "\r\n\r\na 1\n");
  }
  for (const std::string path : {"/", "/metrics/", "/metricsx", "/v1/models"}) {
    CHECK(StartsWith(HttpGet(server->port(), path), "HTTP/1.1 404"));
  }
  CHECK(StartsWith(HttpGet(server->port(), "/metrics", "POST"), "HTTP/1.1 404"));
}

TEST_CASE("metrics server: who says nothing keeps nobody out") {
  const auto server = Serve({.connections_max = 8, .request_timeout = std::chrono::minutes(10)});
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 50; ++i) {
    slow.push_back(ConnectTo(server->port()));
    if (i % 2 == 0) SendText(slow.back(), "GET /metrics HTTP/1.1\r\nX-Slow: ");
  }
  for (int i = 0; i < 20; ++i) {
    CHECK(StartsWith(HttpGet(server->port(), "/metrics"), "HTTP/1.1 200"));
  }
  CHECK(ReadAll(slow.front()).empty());  // it gave way
}

TEST_CASE("metrics server: a request has a time limit and a size limit") {
  const auto server = Serve({.request_timeout = std::chrono::milliseconds(20)});
  const UniqueFd silent = ConnectTo(server->port());
  CHECK(ReadAll(silent).empty());
  const auto patient = Serve({.request_timeout = std::chrono::minutes(10)});
  const UniqueFd endless = ConnectTo(patient->port());
  SendText(endless, "GET /metrics HTTP/1.1\r\nX-Long: " + std::string(16 << 10, 'x'));
  CHECK(ReadAll(endless).empty());
  const UniqueFd garbage = ConnectTo(patient->port());
  SendText(garbage, std::string(64, '\0'));
  CHECK(ReadAll(garbage).empty());
}

TEST_CASE("metrics server: where it listens, and its end") {
  auto server = Serve({.request_timeout = std::chrono::minutes(10)});
  const UniqueFd open = ConnectTo(server->port());
  const auto second = MetricsServer::Start({.port = server->port()}, [] { return std::string(); });
  CHECK(absl::IsUnavailable(second.status()));
  const auto nowhere =
      MetricsServer::Start({.listen_address = "localhost"}, [] { return std::string(); });
  CHECK(absl::IsInvalidArgument(nowhere.status()));
  server.reset();
  CHECK(ReadAll(open).empty());
}

}  // namespace lynx
