// Worker threads for one engine: fork and join over a range, nothing else.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace lynx {

// The owner's thread is worker 0 and takes part; `threads - 1` more are started. All run in the
// exact float mode (runtime/cpu.h). Waiting is passive after a short spin, because several
// processes share a machine's cores and spinning ones would ruin each other. Used by one thread at
// a time (the engine thread).
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls f(worker) once for each worker in [0, threads()) and returns when all have ended.
  void Run(absl::FunctionRef<void(int worker)> f);

  // Calls f(i) for each i in [0, n), handed out one at a time to whichever worker is free. The
  // result must not depend on which worker does what.
  void ForEach(int64_t n, absl::FunctionRef<void(int64_t i)> f);

 private:
  void Work(int worker);

  const int threads_;
  const absl::FunctionRef<void(int)>* job_ = nullptr;  // valid while pending_ > 0
  std::atomic<uint32_t> generation_{0};                // raised by one for each job
  std::atomic<uint32_t> pending_{0};                   // workers that have not ended the job
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace lynx
