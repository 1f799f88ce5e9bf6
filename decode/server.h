// A decode server: model, engine, the way to prefill servers and the control plane in one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "config/config.h"
#include "decode/engine.h"
#include "proto/engine_server.h"
#include "proto/role_main.h"
#include "runtime/status.h"
#include "transfer/data_plane.h"

namespace lynx::decode {

struct ServerOptions : EngineServerOptions {
  EngineOptions engine;
  ChannelKind channel = ChannelKind::kTcp;
  DataClientOptions data;  // the incarnation is the server's own
};

// INVALID_ARGUMENT: an unknown KV target, no model, limits that do not fit together.
// FAILED_PRECONDITION: no NCCL where it is wanted.
absl::StatusOr<ServerOptions> MakeServerOptions(const Config& config);

class Server : public RoleServer {
 public:
  // Loads the model (seconds) and listens. Errors name the model or the address.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);

  virtual int port() const = 0;
  virtual int metrics_port() const = 0;  // -1: none
  virtual const v1::Identity& identity() const = 0;
  virtual EngineStats stats() const = 0;
};

}  // namespace lynx::decode
