#include "cli/supervisor.h"

#include <utility>

#include "runtime/log.h"

namespace lynx {
namespace {

constexpr Nanos kReadyPoll = std::chrono::milliseconds(100);
constexpr Nanos kIdle = std::chrono::milliseconds(500);

bool IsStop(int signal) { return signal == SIGTERM || signal == SIGINT; }

}  // namespace

Supervisor::Supervisor(std::vector<ChildSpec> specs, std::function<bool()> is_ready,
                       std::function<void()> on_ready)
    : is_ready_(std::move(is_ready)), on_ready_(std::move(on_ready)) {
  for (ChildSpec& spec : specs) {
    Child child;
    child.spec = std::move(spec);
    children_.push_back(std::move(child));
  }
  sigemptyset(&signals_);
  for (int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals_, number);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

absl::Status Supervisor::Run() {
  absl::Status status;
  while (true) {
    status = ReapEnded();
    if (status.ok()) status = StartDue();
    if (!status.ok()) break;
    if (!ready_ && is_ready_()) {
      ready_ = true;
      on_ready_();
    }
    if (IsStop(WaitForSignal(ready_ ? kIdle : kReadyPoll))) break;
  }
  StopAll();
  return status;
}

absl::Status Supervisor::StartDue() {
  for (Child& child : children_) {
    if (child.process.has_value() || child.start_at > clock_.Now()) continue;
    absl::StatusOr<ChildProcess> process = ChildProcess::Start(child.spec.command);
    child.started_at = clock_.Now();
    if (process.ok()) {
      child.process = std::move(*process);
    } else if (!ready_) {
      return process.status();
    } else {  // out of memory or processes, say: that may pass
      spdlog::error("restart_failed child={} error={}", child.spec.name,
                    LogValue(std::string(process.status().message())));
      child.start_at = child.policy.NextStart(child.started_at, child.started_at);
    }
  }
  return absl::OkStatus();
}

absl::Status Supervisor::ReapEnded() {
  for (Child& child : children_) {
    if (!child.process.has_value()) continue;
    const std::optional<int> wait_status = child.process->Poll();
    if (!wait_status.has_value()) continue;
    child.process.reset();
    if (!ready_) {
      return absl::UnavailableError(absl::StrCat(child.spec.name, " ended with ",
                                                 DescribeExit(*wait_status),
                                                 " before it was ready; its message is above"));
    }
    const Nanos now = clock_.Now();
    child.start_at = child.policy.NextStart(child.started_at, now);
    spdlog::warn("child_ended child={} how={} restart_in_ms={}", child.spec.name,
                 LogValue(DescribeExit(*wait_status)), (child.start_at - now).count() / 1'000'000);
  }
  return absl::OkStatus();
}

void Supervisor::StopAll() {
  for (Child& child : children_) Stop(child);
}

void Supervisor::Stop(Child& child) {
  if (!child.process.has_value()) return;
  child.process->Signal(SIGTERM);
  const Nanos end = clock_.Now() + child.spec.stop_limit;
  while (!child.process->Poll().has_value()) {
    const Nanos now = clock_.Now();
    if (kill_ || now >= end) {
      spdlog::warn("child_killed child={}", child.spec.name);
      break;
    }
    kill_ |= IsStop(WaitForSignal(std::min(end - now, kIdle)));
  }
  child.process.reset();  // kills what still runs
}

int Supervisor::WaitForSignal(Nanos limit) const {
  const timespec timeout{.tv_sec = static_cast<time_t>(limit.count() / 1'000'000'000),
                         .tv_nsec = static_cast<long>(limit.count() % 1'000'000'000)};
  const int number = sigtimedwait(&signals_, nullptr, &timeout);
  return number > 0 ? number : 0;
}

}  // namespace lynx
