// Prefill servers over gRPC (callback API: no thread waits for a call).
#pragma once

#include <memory>
#include <string>

#include "decode/prefill_client.h"

namespace lynx::decode {

// The channel connects by itself, and again after a loss. An unreachable server fails a call at
// once, one that vanished without a word within two seconds. A client cancels its calls and waits
// for them when it goes: not in a callback, and with no stream that was never started.
std::shared_ptr<PrefillClient> NewGrpcPrefillClient(const std::string& address);

}  // namespace lynx::decode
