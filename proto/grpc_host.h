// A gRPC server around one service: listening, health, reflection, limits, and an end with a
// deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"
#include "runtime/status.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace lynx {

struct GrpcHostOptions {
  std::string listen = "127.0.0.1:0";  // host:port; port 0: any
  int64_t receive_message_bytes_max = 4 << 20;
  // Of one connection; more wait in the client. Above what the engine queues, so that a flood is
  // refused by the engine instead.
  int64_t concurrent_calls_max = 1024;
  // A client that does not answer a ping for so long is gone, and its calls are cancelled.
  std::chrono::milliseconds keepalive_interval{5000};
  std::chrono::milliseconds keepalive_timeout{5000};
};

class GrpcHost {
 public:
  // `service` outlives the host. UNAVAILABLE with the address if it cannot listen.
  static absl::StatusOr<std::unique_ptr<GrpcHost>> Start(const GrpcHostOptions& options,
                                                         grpc::Service* service);
  ~GrpcHost();  // Stop with no time left

  int port() const { return port_; }
  // The standard health service answers SERVING from the start. From now on only as long as
  // `healthy` says so, which is asked each `interval` by a thread of its own; any thread may call
  // Drain. Once at most.
  void WatchHealth(std::function<bool()> healthy, Nanos interval);
  // Health is NOT_SERVING from now on.
  void Drain();
  // Accepts nothing more; calls that have not ended within `limit` are cancelled. Returns when all
  // have ended.
  void Stop(std::chrono::milliseconds limit);

 private:
  GrpcHost();
  void Watch(const std::function<bool()>& healthy, Nanos interval);
  void SetServing(bool serving) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndWatch();

  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;

  absl::Mutex mu_;
  bool serving_ ABSL_GUARDED_BY(mu_) = true;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread watch_;
};

}  // namespace lynx
