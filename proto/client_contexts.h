// The contexts of one client's open calls.
//
// A context holds its channel, and gRPC (1.51) joins its callback threads when the process' last
// channel goes: dropped in a callback, on one of those threads, the thread joins itself and then
// polls a queue that is freed. So a client keeps its channel until no context is left, and must not
// go in a callback itself.
#pragma once

#include <grpcpp/client_context.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace lynx {

// Threads: any.
class ClientContexts {
 public:
  // Cancels the calls and waits until their contexts are dropped. A member behind the stub.
  ~ClientContexts() {
    std::vector<std::shared_ptr<grpc::ClientContext>> open;
    {
      absl::MutexLock lock(&mu_);
      for (const auto& [raw, weak] : open_) {
        if (auto context = weak.lock()) open.push_back(std::move(context));
      }
    }
    for (const auto& context : open) context->TryCancel();
    open.clear();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](Open* open) { return open->empty(); }, &open_));
  }

  // For one call, which drops it before it tells its caller of the end: that may be what the
  // client's owner waits for.
  std::shared_ptr<grpc::ClientContext> New() {
    std::shared_ptr<grpc::ClientContext> context(new grpc::ClientContext,
                                                 [this](grpc::ClientContext* raw) {
                                                   delete raw;
                                                   absl::MutexLock lock(&mu_);
                                                   open_.erase(raw);
                                                 });
    absl::MutexLock lock(&mu_);
    open_[context.get()] = context;
    return context;
  }

 private:
  using Open = std::unordered_map<grpc::ClientContext*, std::weak_ptr<grpc::ClientContext>>;

  absl::Mutex mu_;
  Open open_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
