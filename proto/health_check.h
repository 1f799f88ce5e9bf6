// Asks a gRPC server's standard health service how it is.
#pragma once

#include <string>

#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx {

// As grpc.health.v1 numbers them.
enum class HealthStatus { kUnknown = 0, kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

// Of the server at `address` (host:port, no TLS) as a whole; waits for `timeout` at most. Errors:
// what gRPC says (UNAVAILABLE, DEADLINE_EXCEEDED, UNIMPLEMENTED).
absl::StatusOr<HealthStatus> CheckHealth(const std::string& address, Nanos timeout);

}  // namespace lynx
