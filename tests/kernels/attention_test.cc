#include <catch2/catch.hpp>

#include "kernels/parallel.h"
#include "runtime/cpu.h"
#include "tests/kernels/attention_cases.h"

namespace lynx {
namespace {

struct Case {
  KvShape shape;
  int q_heads;
  int64_t tokens;
  int64_t window = 0;
};

// Rows [first, tokens) of the case, computed `chunk` rows at a time.
std::vector<bf16> Run(const Kernels& kernels, ThreadPool& pool, const Case& c,
                      std::span<const KvPageRef> pages, const std::byte* sinks, KvSplit split,
                      const std::vector<float>& q, int64_t first, int64_t chunk) {
  const int64_t width = static_cast<int64_t>(c.q_heads) * c.shape.head_dim;
  std::vector<bf16> out(static_cast<size_t>((c.tokens - first) * width));
  for (int64_t row = first; row < c.tokens; row += chunk) {
    const int64_t rows = std::min(chunk, c.tokens - row);
    const AttentionArgs args = {
        .shape = c.shape,
        .split = split,
        .q_heads = c.q_heads,
        .scale = 1.0f / std::sqrt(static_cast<float>(c.shape.head_dim)),
        .window = c.window,
        .rows = rows,
        .first_position = row,
        .q = q.data() + (row - first) * width,
        .q_stride = width,
        .pages = pages.first(static_cast<size_t>((row + rows + kPageTokens - 1) / kPageTokens)),
        .sinks = sinks,
        .out = out.data() + (row - first) * width};
    Attention(kernels, pool, {&args, 1});
  }
  return out;
}

const Case kCases[] = {
    {{3, 64}, 9, 200},  {{1, 128}, 4, 130}, {{2, 80}, 2, 67},   {{1, 96}, 7, 65},
    {{1, 256}, 1, 129}, {{2, 66}, 4, 70},   {{1, 64}, 3, 1100}, {{1, 64}, 2, 300, 100},
};

}  // namespace

TEST_CASE("attention over BF16 pages equals naive double precision") {
  ThreadPool pool(1);
  for (const Kernels* kernels : AvailableKernels()) {
    for (const Case& c : kCases) {
      const int d = c.shape.head_dim, group = c.q_heads / c.shape.kv_heads;
      TestKv kv(*kernels, c.shape, c.tokens, 1);
      const std::vector<float> q = TestQueries(c.tokens, c.q_heads, d, 2);
      const std::vector<KvPageRef> pages = kv.Bf16Pages();
      const std::vector<bf16> out = Run(*kernels, pool, c, pages, nullptr, {}, q, 0, c.tokens);
      double worst = 0;
      for (int64_t row = 0; row < c.tokens; row += 13) {
        for (int h = 0; h < c.q_heads; ++h) {
          // q * scale rounded to BF16 as the kernel does, so that only P, sums and the output
          // round.
          std::vector<float> rounded(static_cast<size_t>(d));
          const float scale = 1.0f / std::sqrt(static_cast<float>(d));
          for (int i = 0; i < d; ++i) {
            rounded[i] = ToFloat(ToBf16(q[(row * c.q_heads + h) * d + i] * scale));
          }
          const int64_t begin = c.window > 0 ? std::max<int64_t>(0, row + 1 - c.window) : 0;
          const auto want = NaiveAttention(
              rounded.data(), d, 1.0, begin, row + 1,
              [&](int64_t t, int i) { return kv.Key(h / group, t, i); },
              [&](int64_t t, int i) { return kv.Value(h / group, t, i); });
          for (int i = 0; i < d; ++i) {
            worst =
                std::max(worst, std::fabs(ToFloat(out[(row * c.q_heads + h) * d + i]) - want[i]));
          }
        }
      }
      INFO(kernels->name << " head_dim " << d);
      // |V| < 4: P's rounding and the output's are each at most 2^-9 of that; errors of scores add
      // 2^-24 * head_dim * |s|, which is small beside them.
      CHECK(worst < 4 * (std::ldexp(1.0, -9) * 2 + 1e-4));
    }
  }
}

TEST_CASE("a row's bits do not depend on chunks, threads or the tier") {
  for (const Case& c : kCases) {
    ThreadPool one(1);
    const Kernels& scalar = *AvailableKernels().front();
    TestKv kv(scalar, c.shape, c.tokens, 3);
    const std::vector<float> q = TestQueries(c.tokens, c.q_heads, c.shape.head_dim, 4);
    const std::vector<KvPageRef> pages = kv.Bf16Pages();
    const std::vector<bf16> want = Run(scalar, one, c, pages, nullptr, {}, q, 0, c.tokens);
    for (const Kernels* kernels : AvailableKernels()) {
      for (int64_t chunk : {1, 7, 64, 512}) {
        if (kernels == &scalar && chunk != 7) continue;  // slow
        INFO(kernels->name << " head_dim " << c.shape.head_dim << " chunk " << chunk);
        CHECK(Run(*kernels, one, c, pages, nullptr, {}, q, 0, chunk) == want);
      }
    }
    for (int threads : {2, 3}) {
      ThreadPool pool(threads);
      CHECK(Run(*AvailableKernels().back(), pool, c, pages, nullptr, {}, q, 0, 64) == want);
      CHECK(Run(*AvailableKernels().back(), pool, c, pages, nullptr, {}, q, 0, 1) == want);
    }
  }
}

}  // namespace lynx
