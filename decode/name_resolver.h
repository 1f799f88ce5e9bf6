// Resolves the names of data hosts without holding anybody up: each name in a thread of its own,
// given up at a deadline. A system that does not answer keeps that thread, so their number is
// limited; numeric addresses need none.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/tcp_socket.h"

namespace lynx::decode {

class NameResolver {
 public:
  using Addresses = absl::StatusOr<std::vector<SocketAddress>>;
  // May wait as long as it likes. Called from any thread, even after the resolver's end.
  using Lookup = std::function<Addresses(const std::string& host, uint16_t port)>;
  using Done = std::function<void(Addresses)>;

  static constexpr int kThreadsMax = 16;

  explicit NameResolver(Nanos limit, Lookup lookup = ResolveHost);
  // Whoever waits is told CANCELLED. Threads that hang are left behind; they touch nothing of ours.
  ~NameResolver();

  // Any thread. `done` is called once, at once or from the resolver's own thread. UNAVAILABLE: no
  // such name, no answer within the limit. RESOURCE_EXHAUSTED: kThreadsMax names hang.
  void Resolve(const std::string& host, uint16_t port, Done done);

 private:
  struct State;

  const Nanos limit_;
  const Lookup lookup_;
  const std::shared_ptr<State> state_;  // shared with the threads
  std::thread teller_;
};

}  // namespace lynx::decode
