// Decode and prefill servers over gRPC (callback API: no thread waits for a call).
#pragma once

#include <memory>
#include <string>

#include "gateway/decode_client.h"

namespace lynx {

// The channel connects by itself, and again after a loss; an unreachable server fails a call at
// once. A client cancels its calls (UNAVAILABLE) and waits for them when it goes: not in a
// callback.
std::shared_ptr<DecodeClient> NewGrpcDecodeClient(const std::string& address,
                                                  int64_t max_message_bytes);
std::shared_ptr<InfoClient> NewGrpcPrefillClient(const std::string& address);

}  // namespace lynx
