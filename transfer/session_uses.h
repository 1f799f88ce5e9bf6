// Which sessions are in use, so that only idle ones give way to others.
//
// Not thread-safe, but for the end of a hold, which may be anywhere.
#pragma once

#include <memory>

#include "absl/container/flat_hash_map.h"
#include "transfer/block.h"

namespace lynx {

// While it lives, its session is in use. It may outlive the channel.
using SessionHold = std::shared_ptr<const SessionId>;

class SessionUses {
 public:
  void Add(SessionId session) { sessions_[session] = std::make_shared<const SessionId>(session); }
  // nullptr: no such session, or it was retired.
  SessionHold Hold(SessionId session) const {
    auto it = sessions_.find(session);
    return it == sessions_.end() ? nullptr : it->second;
  }
  // From now on it cannot be held. False, and nothing happens: it is in use.
  bool Retire(SessionId session) {
    auto it = sessions_.find(session);
    // New holds are made here only, so a count of one (ours) cannot grow meanwhile.
    if (it != sessions_.end() && it->second.use_count() > 1) return false;
    if (it != sessions_.end()) sessions_.erase(it);
    return true;
  }
  void Forget(SessionId session) { sessions_.erase(session); }

 private:
  absl::flat_hash_map<SessionId, SessionHold> sessions_;
};

}  // namespace lynx
