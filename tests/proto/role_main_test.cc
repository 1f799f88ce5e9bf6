#include "proto/role_main.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace lynx {
namespace {

struct FakeServer final : RoleServer {
  void Drain() override { drained = true; }
  int64_t open_calls() const override {
    ++asked;
    return open > 0 && drained ? open-- : open;
  }
  bool progressing() const override { return true; }
  std::string activity() const override { return "idle"; }
  bool drained = false;
  mutable int64_t open = 0;
  mutable int asked = 0;
};

constexpr std::chrono::hours kLong{24};

void Serve(const ShutdownSignal& signal, RoleServer& server, std::chrono::seconds limit) {
  ServiceReporter nobody{ServiceEnvironment{}};
  ServeUntilSignal(signal, server, limit, nobody);
}

}  // namespace

// Signals are pending before they are waited for, so nothing has to be timed.
TEST_CASE("a second signal ends the drain, whichever it is") {
  const ShutdownSignal signal;
  for (const auto& [first, second] : {std::pair(SIGTERM, SIGINT), std::pair(SIGINT, SIGTERM)}) {
    FakeServer server;
    server.open = INT64_MAX;
    ::kill(::getpid(), first);
    ::kill(::getpid(), second);
    Serve(signal, server, kLong);
    CHECK(server.drained);
    CHECK(server.open > 0);
  }
}

TEST_CASE("a drain ends with the last call, or with its limit") {
  const ShutdownSignal signal;
  FakeServer server;
  server.open = 3;
  ::kill(::getpid(), SIGTERM);
  Serve(signal, server, kLong);
  CHECK(server.open == 0);

  FakeServer stuck;
  stuck.open = INT64_MAX;
  ::kill(::getpid(), SIGTERM);
  Serve(signal, stuck, std::chrono::seconds(0));
  CHECK(stuck.drained);
}

TEST_CASE("a process whose GPU does not let go ends with a status of its own") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ExitStuck();
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == kStuckExit);
}

TEST_CASE("what keeps a role from starting is its exit code") {
  const char* argv[] = {"lynx-test", "--prefill.prot=0", nullptr};
  const auto never = [](const Config&, WorkProgress&) -> absl::StatusOr<RunningRole> {
    FAIL("the configuration is wrong");
    return absl::InternalError("");
  };
  CHECK(RoleMain("test", 2, const_cast<char**>(argv), never) == 1);
  const auto refuses = [](const Config&, WorkProgress&) -> absl::StatusOr<RunningRole> {
    return absl::UnavailableError("no");
  };
  CHECK(RoleMain("test", 1, const_cast<char**>(argv), refuses) == 1);
}

}  // namespace lynx
