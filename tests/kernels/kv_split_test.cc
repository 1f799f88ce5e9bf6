#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/code_planes_inl.h"
#include "kernels/kv_code.h"
#include "kernels/kv_split_inl.h"
#include "kernels/ops.h"
#include "runtime/aligned_buffer.h"
#include "runtime/cpu.h"
#include "tests/kernels/all_tiers.h"

namespace lynx {
namespace {

using testing::AllTiers;

// A page with its blocks, and guard bytes behind each block.
class Page {
 public:
  Page(KvShape shape, KvSplit split)
      : shape_(shape),
        split_(split),
        page_(Bf16PageBytes(shape)),
        anchor_(AnchorBlockBytes(shape, split) + kGuard),
        residual_(ResidualBlockBytes(shape, split) + kGuard) {
    std::memset(page_.data(), 0, page_.size());
    std::memset(anchor_.data(), 0xa5, anchor_.size());
    std::memset(residual_.data(), 0xa5, residual_.size());
  }

  bf16& at(KvSide side, int head, int token, int c) {
    return reinterpret_cast<bf16*>(page_.data())[ElementIndex(shape_, side, head, token, c)];
  }
  // f(element) in the order heads, sides, channels, tokens.
  template <class Function>
  void Fill(const Function& f) {
    for (int h = 0; h < shape_.kv_heads; ++h) {
      for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
        for (int c = 0; c < shape_.head_dim; ++c) {
          for (int t = 0; t < kPageTokens; ++t) at(side, h, t, c) = f();
        }
      }
    }
  }

  SplitResult Split(const Kernels& kernels, int first_token) {
    first_token_ = first_token;
    return kernels.split_page({.shape = shape_,
                               .split = split_,
                               .page = page_.data(),
                               .first_token = first_token,
                               .anchor = anchor_.data(),
                               .residual = residual_.data()});
  }
  std::vector<std::byte> Tail(const Kernels& kernels) const {
    std::vector<std::byte> tail(page_.size());
    tail.resize(kernels.tail_encode({.shape = shape_,
                                     .split = split_,
                                     .page = page_.data(),
                                     .first_token = first_token_,
                                     .anchor = anchor_.data(),
                                     .residual = residual_.data(),
                                     .tail = tail.data()}));
    return tail;
  }
  bool Restore(const Kernels& kernels, std::span<const std::byte> tail, std::byte* page) const {
    return kernels.tail_decode({.shape = shape_,
                                .split = split_,
                                .first_token = first_token_,
                                .anchor = anchor_.data(),
                                .residual = residual_.data(),
                                .tail = tail,
                                .page = page});
  }

  // q of each value in Fill's order, by the definition in doubles and plain comparisons; the
  // division alone is float32, as defined.
  std::vector<uint8_t> WantedCodes(int first_token) {
    std::vector<uint8_t> codes;
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      for (int h = 0; h < shape_.kv_heads; ++h) {
        for (int c = 0; c < shape_.head_dim; ++c) {
          float lo = INFINITY, max = -INFINITY;
          for (int t = first_token; t < kPageTokens; ++t) {
            lo = std::min(lo, ToFloat(at(side, h, t, c)));
            max = std::max(max, ToFloat(at(side, h, t, c)));
          }
          int k = -128;
          const float wanted = (max - lo) / 255.0f;
          while (k <= 127 && static_cast<float>(std::exp2(k / 8.0)) < wanted) ++k;
          const auto step = static_cast<float>(std::exp2(k / 8.0));
          for (int t = 0; t < kPageTokens; ++t) {
            const float ratio = (ToFloat(at(side, h, t, c)) - lo) / step;
            codes.push_back(t < first_token ? 0
                                            : static_cast<uint8_t>(
                                                  std::clamp(std::nearbyint(ratio), 0.0f, 255.0f)));
          }
        }
      }
    }
    return codes;
  }
  std::vector<uint8_t> Codes() const {
    std::vector<uint8_t> codes(page_.size() / 2);
    JoinCodes(shape_, split_, anchor_.data(), residual_.data(), codes.data());
    return codes;
  }

  // Takes back the flips that CheckPage made in tokens before first_token of `values`.
  void UndoFlips(KvSide side, int first_token, bf16* values) const {
    for (int h = 0; h < shape_.kv_heads; ++h) {
      for (int c = 0; c < shape_.head_dim; ++c) {
        for (int t = 0; t < first_token; ++t) {
          values[ElementIndex(shape_, side, h, t, c)].bits ^= 0x5555;
        }
      }
    }
  }

  bool GuardsIntact() const {
    for (const auto* block : {&anchor_, &residual_}) {
      for (size_t i = block->size() - kGuard; i < block->size(); ++i) {
        if ((*block)[i] != std::byte{0xa5}) return false;
      }
    }
    return true;
  }
  std::vector<std::byte> Blocks() const {
    std::vector<std::byte> all(anchor_.data(), anchor_.data() + anchor_.size());
    all.insert(all.end(), residual_.data(), residual_.data() + residual_.size());
    return all;
  }
  AlignedBuffer<std::byte>& page() { return page_; }
  AlignedBuffer<std::byte>& anchor() { return anchor_; }

 private:
  static constexpr size_t kGuard = 64;
  KvShape shape_;
  KvSplit split_;
  int first_token_ = 0;
  AlignedBuffer<std::byte> page_, anchor_, residual_;
};

std::vector<KvSplit> AllSplits() {
  std::vector<KvSplit> splits;
  for (int k = 3; k <= 8; ++k) {
    for (int v = 3; v <= 8; ++v) splits.push_back({k, v});
  }
  return splits;
}

const Kernels& Scalar() { return *AllTiers().front(); }

// Splits the page in every tier and checks codes, guards and the way back through the Tail.
void CheckPage(Page& page, int first_token) {
  const std::vector<uint8_t> want = page.WantedCodes(first_token);
  std::vector<std::byte> blocks, first_tail;
  for (const Kernels* kernels : AllTiers()) {
    INFO(kernels->name);
    REQUIRE(page.Split(*kernels, first_token) == SplitResult::kCode);
    REQUIRE(page.GuardsIntact());
    if (blocks.empty()) blocks = page.Blocks();
    REQUIRE(page.Blocks() == blocks);
    REQUIRE(page.Codes() == want);
    const std::vector<std::byte> tail = page.Tail(*kernels);
    if (kernels == &Scalar()) first_tail = tail;
    REQUIRE(tail == first_tail);
    std::vector<std::byte> restored(page.page().size());
    std::memcpy(restored.data(), page.page().data(), restored.size());
    auto* values = reinterpret_cast<bf16*>(restored.data());
    for (size_t i = 0; i < restored.size() / 2; ++i) values[i].bits ^= 0x5555;
    REQUIRE(page.Restore(*kernels, tail, restored.data()));
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) page.UndoFlips(side, first_token, values);
    REQUIRE(std::memcmp(restored.data(), page.page().data(), restored.size()) == 0);
  }
}

// Numbers of a group as models have them.
bf16 Normal(std::mt19937& rng, float mean, float deviation) {
  return ToBf16(std::normal_distribution<float>(mean, deviation)(rng));
}

// A page whose groups differ in place and width.
void FillNormal(Page& page, uint32_t seed) {
  std::mt19937 rng(seed);
  int i = 0;
  page.Fill([&] {
    const int group = i++ / kPageTokens;
    return Normal(rng, static_cast<float>(group % 7 - 3), std::ldexp(1.0f, group % 5 - 3));
  });
}

}  // namespace

TEST_CASE("the step code is the smallest power that is large enough") {
  std::mt19937 rng(1);
  for (int i = 0; i < 100000; ++i) {
    const float step = std::exp2(std::uniform_real_distribution<float>(-20, 17)(rng));
    const int k = StepCode(step);
    REQUIRE((k > kMaxStep || StepOf(k) >= step));
    if (k > kMinStep) REQUIRE(StepOf(k - 1) < step);
  }
  for (int k = kMinStep; k <= kMaxStep; ++k) {
    CHECK(StepOf(k) == static_cast<float>(std::exp2(k / 8.0)));
    CHECK(StepCode(StepOf(k)) == k);
  }
  CHECK(StepCode(0.0f) == kMinStep);
  CHECK(StepCode(INFINITY) > kMaxStep);
}

TEST_CASE("ordered integers have the order of the numbers") {
  for (uint32_t b = 0; b < 65536; ++b) {
    const bf16 x{static_cast<uint16_t>(b)};
    REQUIRE(FromOrdered(ToOrdered(x)) == x);
  }
  for (int o = kOrderedMin; o < kOrderedMax; ++o) {
    const float a = ToFloat(FromOrdered(static_cast<uint16_t>(o)));
    const float b = ToFloat(FromOrdered(static_cast<uint16_t>(o + 1)));
    REQUIRE(std::isfinite(a));
    REQUIRE((a < b || (a == 0 && std::signbit(a) && !std::signbit(b))));
  }
}

TEST_CASE("every split of every shape gives the defined codes and restores the page") {
  SetExactFloatMode();
  for (KvSplit split : AllSplits()) {
    Page page({2, 24}, split);
    FillNormal(page, 1);
    INFO("K" << split.k_bits << "V" << split.v_bits);
    CheckPage(page, 0);
    CheckPage(page, kSinkTokens);
  }
  for (KvShape shape : {KvShape{3, 64}, {1, 80}, {1, 96}, {2, 128}, {1, 256}, {2, 66}, {1, 2}}) {
    Page page(shape, {5, 4});
    FillNormal(page, 2);
    INFO("head_dim " << shape.head_dim);
    CheckPage(page, 0);
  }
}

TEST_CASE("every code 0..255 survives every split") {
  for (KvSplit split : AllSplits()) {
    Page page({1, 8}, split);
    int i = 0;
    // lo = 0, max = 255 and all of 0..255 in each four groups: step 1, q = x.
    page.Fill([&] {
      const int t = i % kPageTokens, group = i++ / kPageTokens;
      return ToBf16(t == 0 ? 0.0f : t == 1 ? 255.0f : static_cast<float>((t + group * 64) % 256));
    });
    CheckPage(page, 0);
  }
}

TEST_CASE("all finite BF16 values are restored, whatever stands beside them") {
  SetExactFloatMode();
  // Consecutive, spread, and shuffled values: narrow groups, wide groups, and mixtures. Groups
  // wider than the largest step make the page raw; those are counted, and must be the wide ones.
  for (int stride : {1, 3, 257}) {
    int coded = 0;
    for (uint32_t first = 0; first < 65536; first += 16 * kPageTokens * 2) {
      Page page({1, 16}, {5, 4});
      uint32_t i = 0;
      float lo = INFINITY, max = -INFINITY;
      bool finite = true;
      page.Fill([&] {
        const bf16 x{static_cast<uint16_t>((first + i++) * stride)};
        finite &= IsFinite(x);
        lo = std::min(lo, ToFloat(x));
        max = std::max(max, ToFloat(x));
        return x;
      });
      if (finite && max - lo < 255 * StepOf(kMaxStep)) {
        CheckPage(page, 0);
        ++coded;
      } else {
        for (const Kernels* kernels : AllTiers()) {
          CHECK(page.Split(*kernels, 0) == SplitResult::kRaw);
        }
      }
    }
    // Pages of consecutive values up to 2^23 in both signs; those above need larger steps.
    if (stride == 1) CHECK(coded == 18);
  }
}

TEST_CASE("random bit patterns within the steps' range are restored") {
  SetExactFloatMode();
  std::mt19937 rng(3);
  for (int round = 0; round < 40; ++round) {
    Page page({1, 16}, {5, 4});
    const uint32_t top = 0x3000 + rng() % 0x1a00;  // magnitudes up to some 2^-30 .. 2^22
    page.Fill([&] { return bf16{static_cast<uint16_t>(rng() % top | (rng() & 1) << 15)}; });
    CheckPage(page, 0);
  }
}

TEST_CASE("edges: equal values, zeros of both signs, denormals, tiny ranges") {
  SetExactFloatMode();
  const std::vector<std::vector<uint16_t>> groups = {
      {0x3f80},                  // max = lo
      {0x8000, 0x0000},          // -0 and +0
      {0x0000, 0x8000, 0x0001},  // denormals
      {0x8001, 0x007f, 0x0080},
      {0x3f80, 0x3f81},  // one step apart
      {0x4b00, 0x4b01},  // far from zero
      {0xcae9, 0x4ae9},  // near the widest range: 255 * 2^15.875 = 15,324,678
      {0x8000, 0x3f80, 0x0000},
  };
  for (const auto& values : groups) {
    INFO("first value " << values[0]);
    Page page({1, 2}, {4, 3});
    size_t i = 0;
    page.Fill([&] { return bf16{values[i++ % values.size()]}; });
    CheckPage(page, 0);
    CheckPage(page, kSinkTokens);
  }
}

TEST_CASE("Inf, NaN and ranges beyond the largest step make the page raw, sinks do not") {
  for (const Kernels* kernels : AllTiers()) {
    for (uint16_t bits : {0x7f80, 0xff80, 0x7fc0, 0xffff, 0x7f01}) {
      for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
        Page page({2, 16}, {5, 4});
        FillNormal(page, 4);
        page.at(side, 1, kSinkTokens - 1, 15) = bf16{bits};
        CHECK(page.Split(*kernels, kSinkTokens) == SplitResult::kCode);
        CHECK(page.Split(*kernels, 0) == SplitResult::kRaw);
        page.at(side, 1, 63, 15) = bf16{bits};
        CHECK(page.Split(*kernels, kSinkTokens) == SplitResult::kRaw);
      }
    }
  }
}

TEST_CASE("interval ends are exact") {
  SetExactFloatMode();
  std::mt19937 rng(5);
  for (int i = 0; i < 300; ++i) {
    const bf16 lo{static_cast<uint16_t>((rng() % 0x4b00) | (rng() & 1) << 15)};
    const float step = StepOf(static_cast<int>(rng() % 256) - 128);
    const int code = static_cast<int>(rng() % 256);
    const TailInterval interval = TailIntervalOf(code, lo, step);
    REQUIRE(interval.count >= 0);
    // Every BF16 number from lo on is in the interval exactly if it quantizes to the code.
    for (int o = ToOrdered(lo); o <= kOrderedMax; o += 1 + static_cast<int>(rng() % 7)) {
      const float x = ToFloat(FromOrdered(static_cast<uint16_t>(o)));
      const bool inside = o >= interval.first && o < interval.first + interval.count;
      REQUIRE(inside == (Rank(x, ToFloat(lo), step) == static_cast<float>(code)));
    }
  }
}

TEST_CASE("a Tail that does not fit the code is refused") {
  SetExactFloatMode();
  Page page({1, 16}, {5, 4});
  FillNormal(page, 6);
  const Kernels& kernels = Scalar();
  REQUIRE(page.Split(kernels, 0) == SplitResult::kCode);
  const std::vector<std::byte> tail = page.Tail(kernels);
  std::vector<std::byte> out(page.page().size());
  REQUIRE(page.Restore(kernels, tail, out.data()));
  std::vector<std::byte> longer = tail;
  longer.push_back({});
  const std::vector<std::byte> ones(tail.size(), std::byte{0xff});
  for (const Kernels* tier : AllTiers()) {
    INFO(tier->name);
    REQUIRE(page.Restore(*tier, tail, out.data()));
    for (size_t n = 0; n < tail.size(); ++n) {
      // An exact-size copy, so that a sanitizer sees any overread.
      const std::vector<std::byte> cut(tail.begin(), tail.begin() + static_cast<ptrdiff_t>(n));
      REQUIRE_FALSE(page.Restore(*tier, cut, out.data()));
    }
    CHECK_FALSE(page.Restore(*tier, longer, out.data()));
    CHECK_FALSE(page.Restore(*tier, ones, out.data()));
  }
  // Groups that no page has must not hang or crash, whatever comes out.
  std::mt19937 rng(7);
  for (int i = 0; i < 200; ++i) {
    for (std::byte& b : page.anchor().span()) b = static_cast<std::byte>(rng());
    std::vector<std::byte> noise(rng() % (2 * tail.size()));
    for (std::byte& b : noise) b = static_cast<std::byte>(rng());
    const bool fits = page.Restore(kernels, noise, out.data());
    for (const Kernels* tier : AllTiers()) {
      CHECK(page.Restore(*tier, noise, out.data()) == fits);
    }
  }
}

TEST_CASE("packed tokens come back") {
  const KvShape shape{3, 10};
  Page page(shape, {5, 4});
  FillNormal(page, 8);
  std::vector<std::byte> packed(PackedTokenBytes(shape) * 20), out(page.page().size());
  PackTokens(shape, page.page().data(), 7, 27, packed.data());
  bf16 first;
  std::memcpy(&first, packed.data() + PackedTokenBytes(shape) + 2 * (30 + 10 + 3), 2);
  CHECK(first == page.at(KvSide::kValue, 1, 8, 3));
  std::memcpy(out.data(), page.page().data(), out.size());
  for (int h = 0; h < 3; ++h) page.at(KvSide::kKey, h, 26, 9) = {};
  UnpackTokens(shape, packed.data(), 7, 27, page.page().data());
  CHECK(std::memcmp(out.data(), page.page().data(), out.size()) == 0);
}

}  // namespace lynx
