// The program lynx-gateway as a process: start, refusal to start, end by signals.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "fake_decode_service.h"
#include "runtime/unique_fd.h"
#include "test_client.h"
#include "tests/runtime/notify_socket.h"

namespace lynx {
namespace {

class GatewayProcess {
 public:
  // `environment`: "NAME=value" beside the test's own.
  explicit GatewayProcess(const std::vector<std::string>& flags,
                          const std::vector<std::string>& environment = {}) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) Exec(flags, environment, ends[1]);
    ::close(ends[1]);
    log_fd_ = UniqueFd(ends[0]);
  }
  ~GatewayProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  // What it logs up to and with the line that holds `text`; all of it if none does.
  std::string ReadLogUntil(const std::string& text) {
    std::string log;
    char c;
    while (::read(log_fd_.get(), &c, 1) == 1) {
      log.push_back(c);
      if (c == '\n' && log.find(text) != std::string::npos) break;
    }
    return log;
  }
  int ReadPort() {
    const std::string ready = "ready address=127.0.0.1:";
    const std::string log = ReadLogUntil(ready);
    const size_t at = log.find(ready);
    REQUIRE(at != std::string::npos);
    return std::stoi(log.substr(at + ready.size()));
  }
  void Signal(int number) { ::kill(pid_, number); }
  int ExitCode() {
    int status = 0;
    REQUIRE(::waitpid(pid_, &status, 0) == pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  [[noreturn]] static void Exec(const std::vector<std::string>& flags,
                                const std::vector<std::string>& environment, int stderr_fd) {
    for (const std::string& entry : environment) ::putenv(const_cast<char*>(entry.c_str()));
    ::dup2(stderr_fd, STDERR_FILENO);
    std::vector<char*> argv = {const_cast<char*>(LYNX_GATEWAY_BINARY)};
    for (const std::string& flag : flags) argv.push_back(const_cast<char*>(flag.c_str()));
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }

  pid_t pid_ = -1;
  UniqueFd log_fd_;
};

const std::string kModel = "--model=" LYNX_TEST_DATA "/models/tiny-llama";

}  // namespace

TEST_CASE("it says where it listens, serves, and ends with 0 on a signal") {
  for (const int number : {SIGTERM, SIGINT}) {
    GatewayProcess gateway({kModel, "--gateway.port=0", "--pools.decode=127.0.0.1:1"});
    TestClient client(static_cast<uint16_t>(gateway.ReadPort()));
    CHECK(client.Call("GET", "/version").status == 200);
    CHECK(client.Call("GET", "/health").status == 503);  // there is no decode server
    gateway.Signal(number);
    CHECK(gateway.ExitCode() == 0);
  }
}

TEST_CASE("the first signal drains, the second ends the drain at once") {
  FakeGrpcHost servers;
  servers.decode.script.hang = true;
  GatewayProcess gateway({kModel, "--gateway.port=0", "--gateway.drain_timeout_s=86400",
                          "--pools.info_interval_ms=10", "--gateway.served_model_names=m",
                          "--pools.decode=" + servers.address(),
                          "--pools.prefill=" + servers.address()});
  const auto port = static_cast<uint16_t>(gateway.ReadPort());
  while (TestClient(port).Call("GET", "/health").status != 200) {
  }
  TestClient client(port);
  client.Send("POST", "/v1/completions", R"({"model":"m","prompt":[5],"stream":true})");
  while (servers.decode.request().prompt().empty()) {
  }
  gateway.Signal(SIGTERM);
  CHECK_THAT(gateway.ReadLogUntil("draining"), Catch::Contains("signal=15"));
  gateway.Signal(SIGINT);
  CHECK(gateway.ExitCode() == 0);
}

TEST_CASE("a service manager is told of its life, and the watchdog is fed") {
  const NotifySocket manager("lynx-gateway-process-test");
  GatewayProcess gateway({kModel, "--gateway.port=0", "--pools.decode=127.0.0.1:1"},
                         {"NOTIFY_SOCKET=" + manager.address(), "WATCHDOG_USEC=300000"});
  CHECK_THAT(manager.Receive(), Catch::Contains("EXTEND_TIMEOUT_USEC=") &&
                                    Catch::Contains("STATUS=loading model: 0 %\n"));
  const std::string ready = manager.ReceiveUntil("READY=1\n");
  CHECK_THAT(ready, Catch::Contains("STATUS=serving: 0 requests in flight, 0 of 1 decode servers"));
  for (int i = 0; i < 3; ++i) manager.ReceiveUntil("WATCHDOG=1\n");
  gateway.Signal(SIGTERM);
  CHECK_THAT(
      manager.ReceiveUntil("STOPPING=1\n"),
      Catch::Contains("EXTEND_TIMEOUT_USEC=75000000\n") && Catch::Contains("STATUS=draining: "));
  CHECK(gateway.ExitCode() == 0);
}

TEST_CASE("what keeps it from starting is one line and exit code 1") {
  struct Row {
    std::vector<std::string> flags;
    const char* wanted;
  };
  const Row rows[] = {
      {{"--gateway.port=0"}, "no model is configured"},
      {{"--model=/nonexistent.gguf", "--gateway.port=0"}, "/nonexistent.gguf"},
      {{kModel, "--gateway.port=0", "--gateway.api_keys_file=/nonexistent"}, "/nonexistent"},
      {{kModel, "--gateway.port=0", "--gateway.listen_address=not-an-address"}, "not-an-address"},
      {{kModel, "--gateway.prot=0"}, "gateway.prot"},
      {{"--config", "/nonexistent.json"}, "/nonexistent.json"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.wanted);
    GatewayProcess gateway(row.flags);
    const std::string log = gateway.ReadLogUntil("\x01");
    CHECK_THAT(log, Catch::Contains(row.wanted));
    CHECK(std::count(log.begin(), log.end(), '\n') == 1);
    CHECK(gateway.ExitCode() == 1);
  }
}

}  // namespace lynx
