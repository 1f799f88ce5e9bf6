// A decode server: model, engine, the way to prefill servers and the control plane in one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "config/config.h"
#include "decode/engine.h"
#include "runtime/status.h"
#include "transfer/tcp_options.h"

namespace lynx::decode {

struct ServerOptions {
  std::string model;  // a GGUF file or a Hugging Face folder
  int threads = 1;
  EngineOptions engine;
  TcpOptions tcp;
  size_t sessions_max = 256;  // prefill servers at a time
  std::string listen_host = "127.0.0.1";
  int64_t port = 0;  // 0: any
};

// INVALID_ARGUMENT: an unknown KV target, no model, limits that do not fit together.
absl::StatusOr<ServerOptions> MakeServerOptions(const Config& config);

class Server {
 public:
  // Loads the model (seconds) and listens. Errors name the model or the address.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Ends what still runs, with UNAVAILABLE.
  virtual ~Server() = default;

  virtual int port() const = 0;
  virtual const v1::Identity& identity() const = 0;

  // From now on: not serving, no new requests; what is in flight goes on.
  virtual void Drain() = 0;
  virtual int64_t open_calls() const = 0;  // 0 after Drain: nothing is in flight
  virtual EngineStats stats() const = 0;
};

}  // namespace lynx::decode
