// What a request has been told so far, and when.
#pragma once

#include <optional>
#include <vector>

#include "cli/collected.h"
#include "runtime/clock.h"

namespace lynx {

// Times since the request's submission.
struct TimedResult {
  Collected collected;
  std::vector<Nanos> committed_at;  // [token]
  // When the second token was first known: drafted, or committed at once.
  std::optional<Nanos> second_known_at;
  Nanos total{0};

  // As Collected::Add.
  absl::Status Add(const v1::GenerateEvent& event, Nanos since);
};

}  // namespace lynx
