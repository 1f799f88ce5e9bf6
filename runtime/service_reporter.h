// Keeps the service manager (systemd) informed while a server loads, serves and ends: a status
// line, and a watchdog that is fed only as long as there is progress.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"
#include "runtime/service_notifier.h"

namespace lynx {

// What the manager put into the environment.
struct ServiceEnvironment {
  std::string notify_socket;  // empty: there is no manager
  Nanos watchdog{0};          // 0: none; else what is fed less often than that is killed
};

// NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of main's `environ`; a watchdog of another process
// than `self` is none.
ServiceEnvironment ReadServiceEnvironment(const char* const* environment, pid_t self);

enum class ServicePhase { kLoading, kServing, kReloading, kStopping };

// What the reporter asks again and again, on its own thread or in Enter. Neither waits, or calls
// the reporter.
struct ServiceProbe {
  std::function<std::string()> status;  // one line for people
  // Whether work has gone on since the last time: else the start's timeout is not extended, and the
  // watchdog not fed.
  std::function<bool()> progressing;
};

// Threads: Enter by one.
class ServiceReporter {
 public:
  // Without a manager nothing is done, and no thread is started. An address that is wrong is
  // logged.
  explicit ServiceReporter(const ServiceEnvironment& environment);
  ~ServiceReporter();
  ServiceReporter(const ServiceReporter&) = delete;

  // Tells the manager of a new phase; from now on `probe` is asked, and the last one not any more.
  // `extension` is what the manager has to grant: until it is told of more progress while loading,
  // for the whole of the end when stopping.
  void Enter(ServicePhase phase, ServiceProbe probe, Nanos extension = Nanos{0});

 private:
  void Run();
  void Tell(const std::string& first_lines) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  ServiceNotifier notifier_;
  const Nanos watchdog_;

  absl::Mutex mu_;
  ServicePhase phase_ ABSL_GUARDED_BY(mu_) = ServicePhase::kLoading;
  ServiceProbe probe_ ABSL_GUARDED_BY(mu_);
  Nanos extension_ ABSL_GUARDED_BY(mu_){0};
  std::string status_ ABSL_GUARDED_BY(mu_);       // told last
  bool progressing_ ABSL_GUARDED_BY(mu_) = true;  // found last
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace lynx
