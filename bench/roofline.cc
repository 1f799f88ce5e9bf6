#include "bench/roofline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "runtime/huge_page_arena.h"
#include "runtime/status.h"

namespace lynx::bench {
namespace {

double Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

using Line = uint64_t __attribute__((vector_size(64)));

// Mixes lines in order and asks for memory ahead, as the kernels do: the memory is what is
// measured.
uint64_t Mix(const uint64_t* p, size_t count) {
  Line mixed[2] = {};
  for (size_t i = 0; i + 16 <= count; i += 16) {
    for (size_t j = 0; j < 2; ++j) {
      const uint64_t* line = p + i + 8 * j;
      __builtin_prefetch(line + 256);
      Line words;
      std::memcpy(&words, line, sizeof words);
      mixed[j] += words;
    }
  }
  mixed[0] += mixed[1];
  uint64_t sum = 0;
  for (int i = 0; i < 8; ++i) sum += mixed[0][i];
  return sum;
}

// How long each call took, over `seconds`: three calls at least, after one to warm up.
std::vector<double> Durations(double seconds, absl::FunctionRef<void()> call) {
  call();
  std::vector<double> times;
  const double end = Now() + seconds;
  do {
    const double begin = Now();
    call();
    times.push_back(Now() - begin);
  } while (times.size() < 3 || Now() < end);
  return times;
}

// A roofline is what the machine can do at best.
double BestSeconds(double seconds, absl::FunctionRef<void()> call) {
  const std::vector<double> times = Durations(seconds, call);
  return *std::min_element(times.begin(), times.end());
}

using FmaLoop = double (*)(long rounds);

FmaLoop LoopOf(std::string_view tier) {
  if (tier == "avx2") return FmaLoopAvx2;
  if (tier == "avx512") return FmaLoopAvx512;
  if (tier == "avx512_bf16") return FmaLoopAvx512Bf16;
  return FmaLoopScalar;
}

}  // namespace

double MedianSeconds(double seconds, absl::FunctionRef<void()> call) {
  std::vector<double> times = Durations(seconds, call);
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

double ReadBytesPerSecond(ThreadPool& pool) {
  constexpr size_t kWords = size_t{16} << 20;  // 128 MB: well above a last-level cache
  HugePageArena arena;                         // as the weights
  auto* memory = reinterpret_cast<uint64_t*>(arena.Allocate(kWords * sizeof(uint64_t)));
  std::memset(memory, 1, kWords * sizeof(uint64_t));
  std::atomic<uint64_t> sink{0};
  const size_t share = kWords / static_cast<size_t>(pool.threads()) / 16 * 16;
  const double seconds = BestSeconds(0.3, [&] {
    pool.Run([&](int worker) { sink += Mix(memory + static_cast<size_t>(worker) * share, share); });
  });
  LYNX_CHECK(sink != 0);
  return static_cast<double>(share * sizeof(uint64_t)) * pool.threads() / seconds;
}

double FmaFlopsPerSecond(std::string_view tier, ThreadPool& pool) {
  const FmaLoop loop = LoopOf(tier);
  constexpr long kRounds = 200000;
  std::atomic<double> operations{0};
  const double seconds = BestSeconds(0.2, [&] {
    operations = 0;
    pool.Run([&](int) { operations += loop(kRounds); });
  });
  return operations / seconds;
}

}  // namespace lynx::bench
