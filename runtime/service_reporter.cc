#include "runtime/service_reporter.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "runtime/log.h"

namespace lynx {

namespace {

constexpr Nanos kInterval = std::chrono::seconds(1);

int64_t Micros(Nanos time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
}

// The value of `name`, if `entry` ("NAME=value") is of it.
bool Match(const char* entry, std::string_view name, std::string* value) {
  if (std::strncmp(entry, name.data(), name.size()) != 0 || entry[name.size()] != '=') return false;
  *value = entry + name.size() + 1;
  return true;
}

std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

std::string Extend(Nanos extension) {
  return absl::StrCat("EXTEND_TIMEOUT_USEC=", Micros(extension), "\n");
}

// What a phase begins with.
std::string Announce(ServicePhase phase, Nanos extension) {
  switch (phase) {
    case ServicePhase::kLoading:
      return Extend(extension);
    case ServicePhase::kServing:
      return "READY=1\n";
    case ServicePhase::kReloading:
      return absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", Micros(SteadyClock().Now()), "\n");
    case ServicePhase::kStopping:
      return absl::StrCat("STOPPING=1\n", Extend(extension));
  }
  return "";
}

}  // namespace

ServiceEnvironment ReadServiceEnvironment(const char* const* environment, pid_t self) {
  std::string address, usec, pid;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    Match(*environment, "NOTIFY_SOCKET", &address) || Match(*environment, "WATCHDOG_USEC", &usec) ||
        Match(*environment, "WATCHDOG_PID", &pid);
  }
  ServiceEnvironment out{.notify_socket = address};
  int64_t micros = 0, watched = self;
  const bool valid = absl::SimpleAtoi(usec, &micros) && micros > 0 &&
                     (pid.empty() || absl::SimpleAtoi(pid, &watched));
  // Bounded, so that it can be counted in nanoseconds.
  if (valid && watched == self) {
    out.watchdog = std::chrono::microseconds(std::min<int64_t>(micros, int64_t{1} << 50));
  }
  return out;
}

ServiceReporter::ServiceReporter(const ServiceEnvironment& environment)
    : watchdog_(environment.watchdog) {
  if (environment.notify_socket.empty()) return;
  absl::StatusOr<ServiceNotifier> notifier = ServiceNotifier::Open(environment.notify_socket);
  if (!notifier.ok()) {
    spdlog::warn("service_manager_ignored why={}",
                 LogValue(std::string(notifier.status().message())));
    return;
  }
  notifier_ = *std::move(notifier);
  thread_ = std::thread([this] { Run(); });
}

ServiceReporter::~ServiceReporter() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  thread_.join();
}

void ServiceReporter::Enter(ServicePhase phase, ServiceProbe probe, Nanos extension) {
  if (!notifier_.active()) return;
  absl::MutexLock lock(&mu_);
  phase_ = phase;
  probe_ = std::move(probe);
  extension_ = extension;
  status_.clear();
  Tell(Announce(phase, extension));
}

void ServiceReporter::Run() {
  const Nanos interval = watchdog_ > Nanos{0} ? std::min(kInterval, watchdog_ / 3) : kInterval;
  absl::MutexLock lock(&mu_);
  while (!mu_.AwaitWithTimeout(absl::Condition(&stop_), absl::FromChrono(interval))) {
    if (probe_.status) Tell("");
  }
}

void ServiceReporter::Tell(const std::string& first_lines) {
  std::string message = first_lines;
  std::string status = OneLine(probe_.status());
  if (status != status_) absl::StrAppend(&message, "STATUS=", status, "\n");
  status_ = std::move(status);
  const bool progressing = probe_.progressing();
  if (progressing != progressing_ && phase_ != ServicePhase::kLoading) {
    spdlog::warn("service_progress progressing={} status={}", progressing, LogValue(status_));
  }
  progressing_ = progressing;
  if (progressing && phase_ == ServicePhase::kLoading) {
    if (first_lines.empty()) absl::StrAppend(&message, Extend(extension_));
  } else if (progressing && watchdog_ > Nanos{0}) {
    absl::StrAppend(&message, "WATCHDOG=1\n");
  }
  if (!message.empty()) notifier_.Send(message);
}

}  // namespace lynx
