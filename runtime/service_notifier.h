// Messages to the service manager that started this process: the protocol of sd_notify(3), without
// libsystemd (docs/adr/own-sd-notify.md).
#pragma once

#include <string>

#include "runtime/status.h"
#include "runtime/unique_fd.h"

namespace lynx {

// Threads: any. A message that cannot be delivered is dropped, and serving goes on.
class ServiceNotifier {
 public:
  ServiceNotifier() = default;  // tells nobody
  // `address` is NOTIFY_SOCKET's value: a path, or '@' and an abstract name. INVALID_ARGUMENT: it
  // is neither, or too long.
  static absl::StatusOr<ServiceNotifier> Open(const std::string& address);

  bool active() const { return socket_.valid(); }
  // One datagram of assignments, one a line: "READY=1\nSTATUS=serving".
  void Send(const std::string& assignments) const;

 private:
  UniqueFd socket_;
  std::string address_;  // as the kernel takes it: an abstract name begins with a zero byte
};

}  // namespace lynx
