// A prefill server: model, engine, data plane and control plane in one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "config/config.h"
#include "model/kv_sequence.h"
#include "prefill/engine.h"
#include "proto/grpc_host.h"
#include "runtime/status.h"
#include "transfer/tcp_server.h"

namespace lynx::prefill {

struct ServerOptions {
  std::string model;  // a GGUF file or a Hugging Face folder
  int threads = 1;
  EngineOptions engine;
  SendQueueOptions send;
  TcpServerOptions data;  // the incarnation is the server's own
  std::string data_host;  // told to decode servers; empty: the one they called
  std::string listen_host = "127.0.0.1";
  int64_t port = 0;  // of the control plane; 0: any
};

// INVALID_ARGUMENT: an unknown KV target, no model.
absl::StatusOr<ServerOptions> MakeServerOptions(const Config& config);

class Server {
 public:
  // Loads the model (seconds) and listens. Errors name the model or the address.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Ends what still runs, with UNAVAILABLE.
  virtual ~Server() = default;

  virtual int port() const = 0;
  virtual int data_port() const = 0;
  virtual const v1::Identity& identity() const = 0;

  // From now on: not serving, no new requests; what is in flight goes on.
  virtual void Drain() = 0;
  virtual int64_t open_calls() const = 0;  // 0 after Drain: nothing is in flight
  virtual EngineStats stats() const = 0;
};

}  // namespace lynx::prefill
