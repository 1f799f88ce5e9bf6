#include "runtime/thread_pool.h"

#include <immintrin.h>

#include "runtime/cpu.h"
#include "runtime/status.h"

namespace lynx {
namespace {

// About 20 us: longer than the gap between two operations of one layer, shorter than a scheduler's
// slice.
constexpr int kSpins = 2000;

// Waits until `value` is no longer `old`: spins first, then sleeps in the kernel.
void AwaitChange(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    _mm_pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  LYNX_CHECK(threads >= 1);
  SetExactFloatMode();
  for (int worker = 1; worker < threads; ++worker) {
    workers_.emplace_back([this, worker] { Work(worker); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  generation_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::Work(int worker) {
  SetExactFloatMode();
  uint32_t seen = 0;
  while (true) {
    AwaitChange(generation_, seen);
    ++seen;
    if (stop_.load(std::memory_order_acquire)) return;
    (*job_)(worker);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

void ThreadPool::Run(absl::FunctionRef<void(int)> f) {
  if (threads_ == 1) {
    f(0);
    return;
  }
  job_ = &f;
  pending_.store(threads_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  generation_.notify_all();
  f(0);
  for (uint32_t left = pending_.load(std::memory_order_acquire); left != 0;
       left = pending_.load(std::memory_order_acquire)) {
    AwaitChange(pending_, left);
  }
}

void ThreadPool::ForEach(int64_t n, absl::FunctionRef<void(int64_t)> f) {
  if (threads_ == 1 || n <= 1) {
    for (int64_t i = 0; i < n; ++i) f(i);
    return;
  }
  std::atomic<int64_t> next{0};
  Run([&](int) {
    for (int64_t i = next.fetch_add(1); i < n; i = next.fetch_add(1)) f(i);
  });
}

}  // namespace lynx
