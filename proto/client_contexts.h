// The contexts of one client's open calls.
//
// A context holds its channel, and gRPC (1.51) joins its callback threads when the process' last
// channel goes: dropped in a callback, on one of those threads, the thread joins itself and then
// polls a queue that is freed. So a client keeps its channel until no context is left, and must not
// go in a callback itself.
#pragma once

#include <grpcpp/client_context.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
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
      for (const auto& [id, weak] : open_) {
        if (auto context = weak.lock()) open.push_back(std::move(context));
      }
    }
    for (const auto& context : open) context->TryCancel();
    open.clear();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](Open* open) { return open->empty(); }, &open_));
  }

  // For one call. Its last callback drops it before it tells of the end: that may be what the
  // client's owner waits for.
  std::shared_ptr<grpc::ClientContext> New() {
    absl::MutexLock lock(&mu_);
    const uint64_t id = next_id_++;  // an address may come again before its entry is erased
    std::shared_ptr<grpc::ClientContext> context(new grpc::ClientContext,
                                                 [this, id](grpc::ClientContext* raw) {
                                                   delete raw;
                                                   absl::MutexLock lock(&mu_);
                                                   open_.erase(id);
                                                 });
    open_[id] = context;
    return context;
  }

 private:
  using Open = std::unordered_map<uint64_t, std::weak_ptr<grpc::ClientContext>>;

  absl::Mutex mu_;
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 0;
  Open open_ ABSL_GUARDED_BY(mu_);
};

// What a call's reactor keeps of its context. Threads: any.
class CallContext {
 public:
  explicit CallContext(std::shared_ptr<grpc::ClientContext> context)
      : context_(std::move(context)) {}

  // Null behind End.
  std::shared_ptr<grpc::ClientContext> get() {
    absl::MutexLock lock(&mu_);
    return context_;
  }
  void Cancel() {
    if (const auto context = get()) context->TryCancel();
  }
  // In the call's last callback, first of all.
  void End() {
    std::shared_ptr<grpc::ClientContext> context;
    absl::MutexLock lock(&mu_);
    context.swap(context_);
  }

 private:
  absl::Mutex mu_;
  std::shared_ptr<grpc::ClientContext> context_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
