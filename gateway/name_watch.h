// What a list of servers stands for just now: addresses as they are, and names resolved again and
// again, each to all of its addresses (a Kubernetes headless service has one for each pod).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lynx {

class NameWatch {
 public:
  // Numeric addresses, "10.0.0.1" or "::1". May wait as long as it likes. NOT_FOUND: the name is
  // not there, or has no address; else it could not be found out. Called from any thread, even
  // after the watch's end.
  using Lookup = std::function<absl::StatusOr<std::vector<std::string>>(const std::string& host)>;
  // All addresses, "10.0.0.1:8201" or "[::1]:8201", sorted, each once; what is wrong with names,
  // empty if nothing is. One call at a time.
  using OnChange = std::function<void(const std::vector<std::string>&, const std::string&)>;

  // `servers`: host:port each. `changed` is told at once what needs no name server, then, by other
  // threads, each change. A name that cannot be asked for just now keeps its addresses; one that is
  // not there has none. Each name has a thread of its own, so that none waits for another.
  NameWatch(const std::vector<std::string>& servers, absl::Duration interval, const Lookup& lookup,
            OnChange changed);
  // `changed` is not called from here on. A look-up that hangs is left behind; it touches nothing
  // of ours.
  ~NameWatch();
  NameWatch(const NameWatch&) = delete;
  NameWatch& operator=(const NameWatch&) = delete;

 private:
  struct State;
  const std::shared_ptr<State> state_;  // shared with the threads
};

// The system's resolver.
absl::StatusOr<std::vector<std::string>> LookUpHost(const std::string& host);

}  // namespace lynx
