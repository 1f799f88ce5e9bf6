// How many calls of a service are open.
#pragma once

#include <cstdint>
#include <limits>

#include "absl/synchronization/mutex.h"

namespace lynx {

// Threads: any.
class CallCount {
 public:
  // False if `limit` were open already; counted all the same, because a refused call ends as well.
  bool Add(int64_t limit = std::numeric_limits<int64_t>::max()) {
    absl::MutexLock lock(&mu_);
    return ++open_ <= limit;
  }
  void Remove() {
    absl::MutexLock lock(&mu_);
    --open_;
  }
  int64_t open() const {
    absl::MutexLock lock(&mu_);
    return open_;
  }
  void WaitForNone() const {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](const int64_t* open) { return *open == 0; }, &open_));
  }

 private:
  mutable absl::Mutex mu_;
  int64_t open_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace lynx
