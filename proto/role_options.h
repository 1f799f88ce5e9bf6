// What prefill and decode servers take from the configuration in the same way.
#pragma once

#include <cstdint>
#include <string>

#include "config/config.h"
#include "proto/grpc_host.h"
#include "transfer/tcp_options.h"

namespace lynx {

TcpOptions MakeTcpOptions(const TransferConfig& config);

// 0: one for each core that the process may use.
int ResolveThreads(int64_t configured);

// "host:port" as gRPC takes it, with brackets around an IPv6 address.
std::string JoinHostPort(const std::string& host, int64_t port);

// Limits that follow from the largest prompt and the queue of the engine.
GrpcHostOptions MakeGrpcHostOptions(const std::string& listen_host, int64_t port,
                                    int64_t max_context_tokens, size_t queue_limit);

}  // namespace lynx
