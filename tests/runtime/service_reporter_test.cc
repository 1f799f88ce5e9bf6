#include "runtime/service_reporter.h"

#include <atomic>

#include "notify_socket.h"

namespace lynx {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

ServiceEnvironment Environment(std::vector<const char*> entries, pid_t self) {
  entries.push_back(nullptr);
  return ReadServiceEnvironment(entries.data(), self);
}

// What a server would say.
struct Said {
  ServiceProbe Probe() {
    return {.status = [this] { return absl::StrCat("did ", done.load(), "\nunits"); },
            .progressing = [this] { return progressing.load(); }};
  }
  std::atomic<int> done{0};
  std::atomic<bool> progressing{true};
};

}  // namespace

TEST_CASE("service: the environment tells of a manager and of this process' watchdog") {
  const ServiceEnvironment none = Environment({"HOME=/", "NOTIFY_SOCKETS=/x"}, 7);
  CHECK(none.notify_socket.empty());
  CHECK(none.watchdog == Nanos{0});
  const ServiceEnvironment both =
      Environment({"NOTIFY_SOCKET=@a/b", "WATCHDOG_PID=7", "WATCHDOG_USEC=30000000"}, 7);
  CHECK(both.notify_socket == "@a/b");
  CHECK(both.watchdog == seconds(30));
  CHECK(Environment({"WATCHDOG_USEC=5"}, 7).watchdog == std::chrono::microseconds(5));
  CHECK(Environment({"WATCHDOG_USEC=9223372036854775807"}, 7).watchdog > std::chrono::hours(24));
  for (const char* wrong : {"", "-1", "0", "1s", "99999999999999999999"}) {
    const std::string entry = absl::StrCat("WATCHDOG_USEC=", wrong);
    CHECK(Environment({entry.c_str()}, 7).watchdog == Nanos{0});
  }
  CHECK(Environment({"WATCHDOG_PID=8", "WATCHDOG_USEC=5"}, 7).watchdog == Nanos{0});
  CHECK(Environment({"WATCHDOG_PID=x", "WATCHDOG_USEC=5"}, 7).watchdog == Nanos{0});
}

TEST_CASE("service: addresses that no manager can have are errors") {
  for (const char* wrong : {"", "/", "@", "relative", "vsock:2:1234"}) {
    CHECK(absl::IsInvalidArgument(ServiceNotifier::Open(wrong).status()));
  }
  CHECK_FALSE(ServiceNotifier::Open("/" + std::string(107, 'x')).ok());
  CHECK(ServiceNotifier::Open("/" + std::string(106, 'x')).ok());
}

TEST_CASE("service: messages arrive at abstract names and at paths, or are dropped") {
  const std::string path = absl::StrCat("/tmp/lynx-notify-", ::getpid());
  for (const std::string& at : {std::string(), path}) {
    const NotifySocket manager("lynx-notify-test", at);
    const absl::StatusOr<ServiceNotifier> notifier = ServiceNotifier::Open(manager.address());
    REQUIRE(notifier.ok());
    notifier->Send("READY=1\nSTATUS=on");
    CHECK(manager.Receive() == "READY=1\nSTATUS=on");
  }
  ::unlink(path.c_str());
  ServiceNotifier::Open(path)->Send("READY=1");  // nobody is there any more
  ServiceNotifier().Send("READY=1");
}

TEST_CASE("service: each phase is announced, and its status line told when it changes") {
  const NotifySocket manager("lynx-reporter-test");
  ServiceReporter reporter({.notify_socket = manager.address()});
  Said said;
  reporter.Enter(ServicePhase::kLoading, said.Probe(), seconds(60));
  CHECK(manager.Receive() == "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=did 0 units\n");
  CHECK(manager.Receive() == "EXTEND_TIMEOUT_USEC=60000000\n");
  said.done = 1;
  CHECK(manager.ReceiveUntil("STATUS").starts_with("STATUS=did 1 units\n"));
  reporter.Enter(ServicePhase::kServing, said.Probe());
  CHECK(manager.ReceiveUntil("READY") == "READY=1\nSTATUS=did 1 units\n");
  const int64_t before_us = absl::ToInt64Microseconds(absl::FromChrono(SteadyClock().Now()));
  reporter.Enter(ServicePhase::kReloading, said.Probe());
  const std::string reloading = manager.Receive();
  const std::string begin = "RELOADING=1\nMONOTONIC_USEC=";
  REQUIRE(reloading.starts_with(begin));
  CHECK(std::stoll(reloading.substr(begin.size())) >= before_us);
  reporter.Enter(ServicePhase::kStopping, said.Probe(), seconds(75));
  CHECK(manager.Receive() == "STOPPING=1\nEXTEND_TIMEOUT_USEC=75000000\nSTATUS=did 1 units\n");
}

TEST_CASE("service: the watchdog is fed again and again while there is progress, else not") {
  const NotifySocket manager("lynx-watchdog-test");
  ServiceReporter reporter({.notify_socket = manager.address(), .watchdog = milliseconds(30)});
  Said said;
  reporter.Enter(ServicePhase::kServing, said.Probe());
  for (int i = 0; i < 5; ++i) manager.ReceiveUntil("WATCHDOG=1\n");
  said.progressing = false;
  said.done = 1;  // told at least once after `progressing` was seen
  std::string message = manager.ReceiveUntil("did 1 units");
  // The message was begun either before or after: from the next one on there is no doubt.
  said.done = 2;
  message = manager.ReceiveUntil("did 2 units");
  CHECK(message == "STATUS=did 2 units\n");
  for (int done = 3; done < 6; ++done) {
    said.done = done;
    CHECK(manager.Receive() == absl::StrCat("STATUS=did ", done, " units\n"));
  }
  said.progressing = true;
  CHECK(manager.Receive() == "WATCHDOG=1\n");
}

TEST_CASE("service: a start that makes no progress is not extended") {
  const NotifySocket manager("lynx-loading-test");
  ServiceReporter reporter({.notify_socket = manager.address(), .watchdog = milliseconds(30)});
  Said said;
  reporter.Enter(ServicePhase::kLoading, said.Probe(), seconds(60));
  said.progressing = false;
  said.done = 1;
  manager.ReceiveUntil("did 1 units");
  said.done = 2;
  CHECK(manager.ReceiveUntil("did 2 units") == "STATUS=did 2 units\n");
  said.progressing = true;
  CHECK(manager.Receive() == "EXTEND_TIMEOUT_USEC=60000000\n");
}

TEST_CASE("service: without a manager, or with a wrong address, nothing happens") {
  for (const char* address : {"", "nonsense"}) {
    ServiceReporter reporter({.notify_socket = address});
    Said said;
    reporter.Enter(ServicePhase::kServing, said.Probe());
  }
}

}  // namespace lynx
