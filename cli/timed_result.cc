#include "cli/timed_result.h"

namespace lynx {

absl::Status TimedResult::Add(const v1::GenerateEvent& event, Nanos since) {
  RETURN_IF_ERROR(collected.Add(event));
  committed_at.resize(static_cast<size_t>(collected.committed), since);
  if (!second_known_at.has_value() && collected.tokens.size() > 1) second_known_at = since;
  return absl::OkStatus();
}

}  // namespace lynx
