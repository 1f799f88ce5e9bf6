// What a decode server has said of one run and the engine has not read yet. Bounded by what it may
// say: one answer to each question of ours, "promote" and "done" once, and the newest question for
// missing blocks, which replaces an older one.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "proto/lynx.pb.h"
#include "runtime/status.h"

namespace lynx::prefill {

class RunMail {
 public:
  // INVALID_ARGUMENT: more than it may say; says what.
  absl::Status Add(v1::DecodeToPrefill message);
  // In their order.
  std::vector<v1::DecodeToPrefill> Take() { return std::exchange(letters_, {}); }

  // The decode server is about to be told this: counts the answer that it wants.
  void Told(const v1::PrefillToDecode& message);

 private:
  void AddMissing(v1::DecodeToPrefill message);

  std::vector<v1::DecodeToPrefill> letters_;
  int64_t grants_ = 0;  // or "not yet"
  int64_t raw_grants_ = 0;
  int64_t promotes_ = 1;
  int64_t dones_ = 1;
};

}  // namespace lynx::prefill
