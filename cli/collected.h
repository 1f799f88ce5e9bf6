// What a request has been told so far, as a client would put it together.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/lynx.pb.h"
#include "runtime/status.h"

namespace lynx {

struct Collected {
  std::vector<v1::TokenInfo> tokens;  // committed ones first, then provisional ones
  int64_t committed = 0;
  std::vector<v1::TokenInfo> prompt_logprobs;
  v1::Finished finished;
  bool done = false;
  absl::Status status;

  // INTERNAL if the event breaks the protocol: a gap, a committed token taken back or changed.
  absl::Status Add(const v1::GenerateEvent& event);
  std::vector<int32_t> ids() const;
};

}  // namespace lynx
