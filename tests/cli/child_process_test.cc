#include "cli/child_process.h"

#include <signal.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <thread>

#include "cli/supervisor.h"

namespace lynx {
namespace {

std::vector<std::string> Shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

int WaitFor(ChildProcess& child) {
  while (true) {
    if (const auto status = child.Poll()) return *status;
    std::this_thread::yield();
  }
}

ChildSpec Spec(const std::string& name, const std::string& script) {
  ChildSpec spec;
  spec.name = name;
  spec.command = Shell(script);
  spec.stop_limit = std::chrono::seconds(20);
  return spec;
}

}  // namespace

TEST_CASE("a child's end is told once") {
  auto child = ChildProcess::Start(Shell("exit 3"));
  REQUIRE(child.ok());
  CHECK(DescribeExit(WaitFor(*child)) == "exit code 3");
  CHECK_FALSE(child->Poll().has_value());
}

TEST_CASE("a program that is not there is an error that names it") {
  const auto child = ChildProcess::Start({"/nowhere/lynx-prefill"});
  CHECK(child.status().code() == absl::StatusCode::kNotFound);
  CHECK(std::string(child.status().message()).find("/nowhere/lynx-prefill") != std::string::npos);
}

TEST_CASE("a child takes signals although its parent blocks them") {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, nullptr);
  auto child = ChildProcess::Start({"/bin/sleep", "1000"});
  pthread_sigmask(SIG_UNBLOCK, &term, nullptr);
  REQUIRE(child.ok());
  child->Signal(SIGTERM);
  const int status = WaitFor(*child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}

TEST_CASE("a child that ends before all are ready ends the whole, by name") {
  Supervisor supervisor(
      {Spec("steady", "exec sleep 1000"), Spec("broken", "exit 7")}, [] { return false; }, [] {});
  const absl::Status status = supervisor.Run();
  CHECK(std::string(status.message()).find("broken ended with exit code 7") != std::string::npos);
}

TEST_CASE("a child that dies later is started again; a signal ends all") {
  // Each life of the child adds a line; the second one's tells us to stop.
  const std::string file = "/tmp/lynx_supervisor_test." + std::to_string(getpid());
  const std::string script = "echo life >> " + file + "; [ $(wc -l < " + file +
                             ") -lt 2 ] && sleep 0.2 && exit 1; kill -TERM $PPID; exec sleep 1000";
  bool ready = false;
  Supervisor supervisor(
      {Spec("mortal", script)}, [] { return true; }, [&] { ready = true; });
  const absl::Status status = supervisor.Run();
  INFO(status);
  CHECK(status.ok());
  CHECK(ready);
  std::remove(file.c_str());
}

}  // namespace lynx
