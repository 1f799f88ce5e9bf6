// Asks servers for their part of a request's trace.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/lynx.pb.h"

namespace lynx {

enum class TracedRole { kDecode, kPrefill };

// Over a connection of its own: it is rarely asked, and of servers that may have left the pool.
// Does not block; `done` is called once, from any thread, perhaps before this returns.
void AskTrace(TracedRole role, const std::string& address, const std::string& request_id,
              absl::Duration timeout, std::function<void(absl::StatusOr<v1::TraceReply>)> done);

}  // namespace lynx
