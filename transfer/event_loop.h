// An epoll loop for one I/O thread. Everything but Wake belongs to that thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "runtime/unique_fd.h"

namespace lynx {

class EventLoop {
 public:
  using Handler = std::function<void(uint32_t epoll_events)>;

  static absl::StatusOr<std::unique_ptr<EventLoop>> Create();

  // Level-triggered. `fd` must stay open until Remove; a handler may remove any fd, its own too.
  absl::Status Add(int fd, uint32_t epoll_events, Handler handler);
  void SetEvents(int fd, uint32_t epoll_events);
  void Remove(int fd);
  // Remove, if it was added.
  void Forget(int fd) {
    if (watched_.contains(fd)) Remove(fd);
  }

  // Handles what is ready; waits for it until `deadline` (nullopt: for ever), or until Wake.
  void RunOnce(std::optional<Nanos> deadline);
  // Any thread: ends a waiting RunOnce, or the next one.
  void Wake();

  Nanos Now() const { return clock_.Now(); }

 private:
  struct Watched {
    uint64_t generation = 0;  // tells a new fd from an old one of the same number
    uint32_t events = 0;
    std::shared_ptr<Handler> handler;
  };

  EventLoop() = default;
  void ArmTimer(std::optional<Nanos> deadline);
  void Dispatch(uint64_t tag, uint32_t epoll_events);
  void Control(int op, int fd, const Watched& watched);

  SteadyClock clock_;
  UniqueFd epoll_;
  UniqueFd wake_;   // eventfd
  UniqueFd timer_;  // timerfd: epoll_wait itself counts in milliseconds
  std::optional<Nanos> armed_;
  uint32_t next_generation_ = 1;
  absl::flat_hash_map<int, Watched> watched_;
};

}  // namespace lynx
