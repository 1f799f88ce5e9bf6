// What prefill and decode servers take from the configuration in the same way.
#pragma once

#include <cstdint>
#include <string>

#include "config/config.h"
#include "proto/grpc_host.h"
#include "runtime/request_trace.h"
#include "transfer/data_plane.h"

namespace lynx {

TcpOptions MakeTcpOptions(const TransferConfig& config);
// `gpu`: the device of the role's KV.
NcclOptions MakeNcclOptions(const TransferConfig& config, int64_t gpu);

// What transfer.channel means for a role that computes on `device` ("cpu", "cuda", "emulated"); a
// log line says why where it is "auto" on a GPU. FAILED_PRECONDITION: it is nccl, and there is no
// GPU or no NCCL.
absl::StatusOr<ChannelKind> ChooseChannel(const TransferConfig& config, const std::string& device);

TraceLimits MakeTraceLimits(const TraceConfig& config);

// Pinned host memory for a GPU's KV (DeviceOptions): none where NCCL moves it.
size_t WireBytes(ChannelKind channel, int64_t staging_mib);

// Device memory that the channel takes as peers come (DeviceOptions): none over TCP. A receiver
// (decode) also has a buffer of one operation.
enum class ChannelEnd : uint8_t { kSender, kReceiver };
size_t ChannelBytes(ChannelKind channel, ChannelEnd end, const NcclOptions& nccl);

// 0: one for each core that the process may use.
int ResolveThreads(int64_t configured);

// "host:port" as gRPC takes it, with brackets around an IPv6 address.
std::string JoinHostPort(const std::string& host, int64_t port);

// " metrics_address=host:port", as a role logs it; empty if there is no such port (-1).
std::string MetricsAddress(const std::string& host, int64_t port);

// Limits that follow from the largest prompt and the queue of the engine.
GrpcHostOptions MakeGrpcHostOptions(const std::string& listen_host, int64_t port,
                                    int64_t max_context_tokens, size_t queue_limit);

}  // namespace lynx
