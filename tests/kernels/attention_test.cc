#include <catch2/catch.hpp>

#include "kernels/code_planes_inl.h"
#include "kernels/parallel.h"
#include "runtime/cpu.h"
#include "tests/kernels/all_tiers.h"
#include "tests/kernels/attention_cases.h"

namespace lynx {
namespace {

using testing::AllTiers;

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
  for (const Kernels* kernels : AllTiers()) {
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
    const Kernels& scalar = *AllTiers().front();
    TestKv kv(scalar, c.shape, c.tokens, 3);
    const std::vector<float> q = TestQueries(c.tokens, c.q_heads, c.shape.head_dim, 4);
    const std::vector<KvPageRef> pages = kv.Bf16Pages();
    const std::vector<bf16> want = Run(scalar, one, c, pages, nullptr, {}, q, 0, c.tokens);
    for (const Kernels* kernels : AllTiers()) {
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

namespace {

// The coded pages of a sequence: full pages as code, the last one BF16 unless it is full too.
class CodedKv {
 public:
  CodedKv(const Kernels& kernels, TestKv& kv, KvSplit split) : kv_(kv), split_(split) {
    const KvShape shape = kv.shape();
    sinks_.resize(PackedTokenBytes(shape) * kSinkTokens);
    PackTokens(shape, kv.page(0).data(), 0, kSinkTokens, sinks_.data());
    for (int64_t p = 0; p < kv.tokens() / kPageTokens; ++p) {
      anchor_.emplace_back(AnchorBlockBytes(shape, split));
      residual_.emplace_back(ResidualBlockBytes(shape, split));
      REQUIRE(kernels.split_page({.shape = shape,
                                  .split = split,
                                  .page = kv.page(p).data(),
                                  .first_token = p == 0 ? kSinkTokens : 0,
                                  .anchor = anchor_.back().data(),
                                  .residual = residual_.back().data()}) == SplitResult::kCode);
    }
  }

  std::vector<KvPageRef> Pages(KvPageKind kind) const {
    std::vector<KvPageRef> refs = kv_.Bf16Pages();
    for (size_t p = 0; p < anchor_.size(); ++p) {
      refs[p] = {kind, anchor_[p].data(),
                 kind == KvPageKind::kFull ? residual_[p].data() : nullptr};
    }
    return refs;
  }

  // What a value of a page of `kind` stands for, in doubles and by the definition.
  double Value(KvPageKind kind, KvSide side, int head, int64_t token, int c) const {
    const auto page = static_cast<size_t>(token / kPageTokens);
    if (token < kSinkTokens || page >= anchor_.size()) {
      return side == KvSide::kKey ? kv_.Key(head, token, c) : kv_.Value(head, token, c);
    }
    const CodePart part =
        FindCodePart(kv_.shape(), split_, head, side, anchor_[page].data(), residual_[page].data());
    const int d = kv_.shape().head_dim, t = static_cast<int>(token % kPageTokens);
    const bool key = side == KvSide::kKey;
    const SubPlanes planes = FindSubPlanes(d, side, part, true);
    int code = ReadCode(planes, key ? c : t, key ? t : c, LaneBytes(d, side));
    double half = 0;
    if (kind == KvPageKind::kAnchor) {
      const int r = kCodeBits - part.anchor_bits;
      code = code >> r << r;
      half = ((1 << r) - 1) / 2.0;
    }
    return ToFloat(ReadLo(part, c)) + static_cast<double>(ReadStep(part, c)) * (code + half);
  }

  const std::byte* sinks() const { return sinks_.data(); }
  KvSplit split() const { return split_; }

 private:
  TestKv& kv_;
  KvSplit split_;
  std::vector<std::byte> sinks_;
  std::vector<AlignedBuffer<std::byte>> anchor_, residual_;
};

}  // namespace

TEST_CASE("attention over code pages equals naive double precision over the code's values") {
  ThreadPool pool(1);
  for (const Kernels* kernels : AllTiers()) {
    for (const Case& c : kCases) {
      const int d = c.shape.head_dim, group = c.q_heads / c.shape.kv_heads;
      TestKv kv(*kernels, c.shape, c.tokens, 5);
      const CodedKv coded(*kernels, kv, {5, 4});
      const int64_t first = c.tokens / kPageTokens * kPageTokens;  // rows after the prompt
      const std::vector<float> q = TestQueries(c.tokens - first, c.q_heads, d, 6);
      for (KvPageKind kind : {KvPageKind::kAnchor, KvPageKind::kFull}) {
        const std::vector<bf16> out = Run(*kernels, pool, c, coded.Pages(kind), coded.sinks(),
                                          coded.split(), q, first, c.tokens);
        double worst = 0;
        const int64_t row = c.tokens - first - 1;
        const float scale = 1.0f / std::sqrt(static_cast<float>(d));
        for (int h = 0; h < c.q_heads; ++h) {
          const int64_t begin = c.window > 0 ? std::max<int64_t>(0, c.tokens - c.window) : 0;
          const auto want = NaiveAttention(
              q.data() + (row * c.q_heads + h) * d, d, scale, begin, c.tokens,
              [&](int64_t t, int i) { return coded.Value(kind, KvSide::kKey, h / group, t, i); },
              [&](int64_t t, int i) { return coded.Value(kind, KvSide::kValue, h / group, t, i); });
          for (int i = 0; i < d; ++i) {
            worst =
                std::max(worst, std::fabs(ToFloat(out[(row * c.q_heads + h) * d + i]) - want[i]));
          }
        }
        INFO(kernels->name << " head_dim " << d << " kind " << static_cast<int>(kind));
        // The output's rounding is at most 2^-9 of |V| < 4. A BF16 token's score is off by at most
        // 2^-9 * sum |q k| * scale, on average over channels far less: 2^-9 * |q| |k| * scale <
        // 0.06 and its weight by as much; at most 67 of the tokens are BF16.
        CHECK(worst < 4 * (std::ldexp(1.0, -9) + 0.02));
      }
    }
  }
}

TEST_CASE("code pages: bits do not depend on chunks, threads, tiers; full not on the split") {
  ThreadPool one(1), three(3);
  const Kernels& scalar = *AllTiers().front();
  for (const Case& c : kCases) {
    TestKv kv(scalar, c.shape, c.tokens, 7);
    const int64_t first = c.tokens / kPageTokens * kPageTokens;
    const std::vector<float> q = TestQueries(c.tokens - first, c.q_heads, c.shape.head_dim, 8);
    std::vector<bf16> full;
    for (KvSplit split : {KvSplit{5, 4}, {8, 8}, {3, 7}, {4, 3}, {6, 5}, {7, 6}}) {
      const CodedKv coded(scalar, kv, split);
      for (KvPageKind kind : {KvPageKind::kAnchor, KvPageKind::kFull}) {
        const std::vector<KvPageRef> pages = coded.Pages(kind);
        const auto run = [&](const Kernels& kernels, ThreadPool& pool, int64_t chunk) {
          return Run(kernels, pool, c, pages, coded.sinks(), split, q, first, chunk);
        };
        const std::vector<bf16> want = run(scalar, one, c.tokens);
        INFO("head_dim " << c.shape.head_dim << " K" << split.k_bits << "V" << split.v_bits
                         << " kind " << static_cast<int>(kind));
        if (kind == KvPageKind::kFull) {
          if (full.empty()) full = want;
          CHECK(want == full);
        }
        if (kind == KvPageKind::kAnchor && split == KvSplit{8, 8}) CHECK(want == full);
        for (const Kernels* kernels : AllTiers()) {
          CHECK(run(*kernels, one, c.tokens) == want);
          if (kernels != &scalar) CHECK(run(*kernels, three, 1) == want);
        }
      }
    }
  }
}

namespace {

void CheckUnseen(const Kernels& kernels, const Case& c) {
  ThreadPool pool(1);
  TestKv kv(kernels, c.shape, c.tokens, 9);
  const std::vector<float> q = TestQueries(c.tokens, c.q_heads, c.shape.head_dim, 10);
  const int64_t width = static_cast<int64_t>(c.q_heads) * c.shape.head_dim;
  const std::vector<bf16> clean = Run(kernels, pool, c, kv.Bf16Pages(), nullptr, {}, q, 0, 64);
  for (int64_t bad : {17, 30}) {
    auto* page = reinterpret_cast<bf16*>(kv.page(0).data());
    bf16& key = page[KeyIndex(c.shape, 0, static_cast<int>(bad), 5)];
    bf16& value = page[ValueIndex(c.shape, 0, static_cast<int>(bad), 5)];
    const bf16 old_key = key, old_value = value;
    key = value = bf16{0x7fc0};
    const std::vector<bf16> out = Run(kernels, pool, c, kv.Bf16Pages(), nullptr, {}, q, 0, 64);
    for (int64_t row = 0; row < c.tokens; ++row) {
      const bool sees = row >= bad && (c.window == 0 || row - c.window < bad);
      const auto from = clean.begin() + row * width;
      if (!sees) CHECK(std::equal(from, from + width, out.begin() + row * width));
    }
    key = old_key;
    value = old_value;
  }
}

}  // namespace

TEST_CASE("what a row must not see leaves no trace, be it Inf or NaN") {
  for (const Kernels* kernels : AllTiers()) {
    INFO(kernels->name);
    for (const Case& c :
         {Case{{1, 64}, 3, 60}, Case{{2, 80}, 2, 61, 9}, Case{{1, 66}, 2, 60, 30}}) {
      CheckUnseen(*kernels, c);
    }
  }
}

namespace {

// Any sign and mantissa; one in four a denormal, one in four hardly larger, the others with an
// exponent in [-60, most).
float Extreme(std::mt19937& rng, int most) {
  const auto bits = static_cast<uint32_t>(rng());
  const uint32_t kind = bits >> 23 & 3;
  const uint32_t exponent = kind == 0   ? 0
                            : kind == 1 ? 1 + (bits >> 25 & 7)
                                        : 67 + (bits >> 25 & 63) % static_cast<uint32_t>(most + 60);
  return std::bit_cast<float>((static_cast<uint32_t>(rng()) & 0x807fffffu) | exponent << 23);
}
bf16 ExtremeBf16(std::mt19937& rng, int most) {
  return {static_cast<uint16_t>(std::bit_cast<uint32_t>(Extreme(rng, most)) >> 16)};
}

}  // namespace

TEST_CASE("denormals and numbers far apart: every tier has the scalar tier's bits") {
  ThreadPool pool(1);
  const Kernels& scalar = *AllTiers().front();
  for (const Case& c : {Case{{2, 64}, 6, 100}, Case{{1, 96}, 5, 67, 40}, Case{{1, 66}, 2, 70}}) {
    TestKv kv(scalar, c.shape, c.tokens, 13);
    std::mt19937 rng(14);
    for (int64_t t = 0; t < c.tokens; ++t) {
      auto* page = reinterpret_cast<bf16*>(kv.page(t / kPageTokens).data());
      const int token = static_cast<int>(t % kPageTokens);
      for (int h = 0; h < c.shape.kv_heads; ++h) {
        for (int i = 0; i < c.shape.head_dim; ++i) {
          page[KeyIndex(c.shape, h, token, i)] = ExtremeBf16(rng, 2);
          page[ValueIndex(c.shape, h, token, i)] = ExtremeBf16(rng, 2);
        }
      }
    }
    std::vector<float> q(static_cast<size_t>(c.tokens) * c.q_heads * c.shape.head_dim);
    for (float& x : q) x = Extreme(rng, 2);
    const std::vector<KvPageRef> pages = kv.Bf16Pages();
    const std::vector<bf16> want = Run(scalar, pool, c, pages, nullptr, {}, q, 0, 64);
    CHECK(
        std::none_of(want.begin(), want.end(), [](bf16 x) { return (x.bits & 0x7f80) == 0x7f80; }));
    for (const Kernels* kernels : AllTiers()) {
      INFO(kernels->name << " head_dim " << c.shape.head_dim);
      CHECK(Run(*kernels, pool, c, pages, nullptr, {}, q, 0, 7) == want);
    }
  }
}

TEST_CASE("sequences of one call keep their own results") {
  const Kernels& kernels = *AvailableKernels().back();
  ThreadPool one(1), two(2);
  const Case cases[] = {{{3, 64}, 9, 200}, {{3, 64}, 9, 700}, {{3, 64}, 9, 1}};
  std::vector<std::vector<bf16>> want, got;
  std::vector<std::vector<float>> q;
  std::vector<std::vector<KvPageRef>> pages;
  std::vector<AttentionArgs> args;
  std::vector<TestKv> kvs;
  for (const Case& c : cases) kvs.emplace_back(kernels, c.shape, c.tokens, 11);
  for (size_t i = 0; i < 3; ++i) {
    const Case& c = cases[i];
    q.push_back(TestQueries(1, c.q_heads, c.shape.head_dim, 12));
    pages.push_back(kvs[i].Bf16Pages());
    want.push_back(Run(kernels, one, c, pages[i], nullptr, {}, q[i], c.tokens - 1, 1));
    got.emplace_back(want[i].size());
  }
  for (size_t i = 0; i < 3; ++i) {
    const Case& c = cases[i];
    args.push_back({.shape = c.shape,
                    .q_heads = c.q_heads,
                    .scale = 0.125f,
                    .rows = 1,
                    .first_position = c.tokens - 1,
                    .q = q[i].data(),
                    .q_stride = static_cast<int64_t>(c.q_heads) * c.shape.head_dim,
                    .pages = pages[i],
                    .out = got[i].data()});
  }
  Attention(kernels, two, args);
  CHECK(got == want);
}

}  // namespace lynx
