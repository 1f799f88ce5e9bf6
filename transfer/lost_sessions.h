// Data sessions that ended lately, for whoever may be told of a session only after its end.
//
// Not thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <set>

#include "transfer/block.h"

namespace lynx {

class LostSessions {
 public:
  void Add(SessionId session) {
    if (!lost_.insert(session).second) return;
    order_.push_back(session);
    if (order_.size() <= kKept) return;
    lost_.erase(order_.front());
    order_.pop_front();
  }
  bool Contains(SessionId session) const { return lost_.contains(session); }

 private:
  // Far more than end between two steps of an engine.
  static constexpr size_t kKept = 1024;

  std::set<SessionId> lost_;
  std::deque<SessionId> order_;  // of their ends
};

}  // namespace lynx
