// The gateway: composed of options, a model's text side and clients of the other servers.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "gateway/decode_client.h"
#include "gateway/options.h"
#include "gateway/text_model.h"
#include "proto/role_main.h"

namespace lynx {

// The destructor cuts what is in flight, and returns when no thread is left.
class GatewayServer : public RoleServer {
 public:
  // Nothing is listened on before Start. Errors: options, the key file.
  static absl::StatusOr<std::unique_ptr<GatewayServer>> Create(
      GatewayOptions options, std::unique_ptr<const TextModel> model, ServerClients clients);
  // With gRPC clients.
  static absl::StatusOr<std::unique_ptr<GatewayServer>> Create(
      GatewayOptions options, std::unique_ptr<const TextModel> model);

  // Listens and serves on threads of its own. Call once.
  virtual absl::Status Start() = 0;
  virtual uint16_t port() const = 0;
};

}  // namespace lynx
