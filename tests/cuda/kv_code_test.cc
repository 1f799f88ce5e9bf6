// The code P64, the Tail and packed tokens on the device against the scalar specification.
#include <catch2/catch.hpp>

#include "kernels/cuda/kv_pack.h"
#include "kernels/cuda/kv_split.h"
#include "kernels/cuda/kv_tail.h"
#include "tests/cuda/page_cases.h"
#include "tests/cuda/schedules.h"

namespace lynx::cuda {
namespace {

using testing::Bytes;
using testing::CodeBlocks;
using testing::CodedGroup;
using testing::CodeGroup;
using testing::CodePage;
using testing::DeviceArray;
using testing::ForEachSchedule;
using testing::ForGroups;
using testing::OnDevice;
using testing::PageNumbers;
using testing::RandomPage;

// A page and where its tokens start.
struct TestPage {
  PageNumbers numbers;
  int first_token = 0;
};

// Pages on the device, and what their code is said to be.
class Coder {
 public:
  Coder(KvSplit split, const std::vector<TestPage>& pages)
      : shape_(pages[0].numbers.shape()), split_(split) {
    for (const TestPage& page : pages) {
      first_tokens_.push_back(page.first_token);
      page_bytes_.push_back(page.numbers.bytes());
      pages_.push_back(OnDevice(page_bytes_.back()));
      want_.push_back(CodePage(page.numbers, split, page.first_token));
    }
  }
  int64_t count() const { return std::ssize(pages_); }
  const Bytes& page_bytes(int64_t i) const { return page_bytes_[i]; }

  // SplitPages; compares flags and blocks.
  void CheckSplit() {
    anchors_.clear();
    residuals_.clear();
    std::vector<SplitPageJob> jobs;
    for (int64_t i = 0; i < count(); ++i) {
      anchors_.emplace_back(static_cast<int64_t>(AnchorBlockBytes(shape_, split_)));
      residuals_.emplace_back(static_cast<int64_t>(ResidualBlockBytes(shape_, split_)));
      jobs.push_back({.page = pages_[i].data(),
                      .anchor = anchors_[i].data(),
                      .residual = residuals_[i].data(),
                      .first_token = first_tokens_[i]});
    }
    const auto device_jobs = OnDevice(jobs);
    DeviceArray<int32_t> raw(count());
    REQUIRE(SplitPages({.shape = shape_,
                        .split = split_,
                        .jobs = device_jobs.data(),
                        .count = count(),
                        .raw = raw.data()},
                       nullptr) == cudaSuccess);
    const std::vector<int32_t> flags = raw.Read();
    for (int64_t i = 0; i < count(); ++i) {
      INFO("page " << i);
      CHECK(flags[i] == (want_[i] ? 0 : 1));
      if (!want_[i]) continue;
      CHECK((anchors_[i].Read() == want_[i]->anchor));
      CHECK((residuals_[i].Read() == want_[i]->residual));
    }
  }

  // TailEncode of the blocks that CheckSplit made.
  std::vector<Bytes> EncodeTails() {
    std::vector<DeviceArray<std::byte>> tails;
    std::vector<TailEncodeJob> jobs;
    for (int64_t i = 0; i < count(); ++i) {
      tails.emplace_back(static_cast<int64_t>(Bf16PageBytes(shape_)));
      jobs.push_back({.page = pages_[i].data(),
                      .anchor = anchors_[i].data(),
                      .tail = tails[i].data(),
                      .first_token = first_tokens_[i]});
    }
    const auto device_jobs = OnDevice(jobs);
    DeviceArray<uint32_t> bytes(count());
    REQUIRE(TailEncode({.shape = shape_,
                        .split = split_,
                        .jobs = device_jobs.data(),
                        .count = count(),
                        .bytes = bytes.data()},
                       nullptr) == cudaSuccess);
    const std::vector<uint32_t> sizes = bytes.Read();
    std::vector<Bytes> read;
    for (int64_t i = 0; i < count(); ++i) {
      read.push_back(tails[i].Read());
      REQUIRE(sizes[i] <= read[i].size());
      read[i].resize(sizes[i]);
    }
    return read;
  }

  struct Decoded {
    std::vector<int32_t> bad;
    std::vector<Bytes> pages;
  };
  // TailDecode of all pages, into pages full of `fill`. The Tails lie in memory of just their size.
  Decoded DecodeTails(const std::vector<Bytes>& tails, std::byte fill) {
    std::vector<DeviceArray<std::byte>> pages;
    std::vector<DeviceBuffer<std::byte>> memory;
    std::vector<TailDecodeJob> jobs;
    for (int64_t i = 0; i < count(); ++i) {
      pages.push_back(OnDevice(Bytes(Bf16PageBytes(shape_), fill)));
      // One byte off the alignment for every other page.
      const auto shift = static_cast<size_t>(i % 2);
      memory.push_back(*DeviceBuffer<std::byte>::Create(tails[i].size() + shift));
      if (!tails[i].empty()) {
        REQUIRE(cudaMemcpyAsync(memory[i].data() + shift, tails[i].data(), tails[i].size(),
                                cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
      }
      jobs.push_back({.anchor = anchors_[i].data(),
                      .residual = residuals_[i].data(),
                      .tail = memory[i].data() + shift,
                      .page = pages[i].data(),
                      .tail_bytes = static_cast<uint32_t>(tails[i].size()),
                      .first_token = first_tokens_[i]});
    }
    const auto device_jobs = OnDevice(jobs);
    DeviceArray<int32_t> bad(count());
    REQUIRE(TailDecode({.shape = shape_,
                        .split = split_,
                        .jobs = device_jobs.data(),
                        .count = count(),
                        .bad = bad.data()},
                       nullptr) == cudaSuccess);
    Decoded decoded{bad.Read(), {}};
    for (const auto& page : pages) decoded.pages.push_back(page.Read());
    return decoded;
  }

  // Overwrites a page's Anchor block, as a peer might send it.
  void SetAnchor(int64_t i, const Bytes& bytes) { anchors_[i] = OnDevice(bytes); }
  Bytes Anchor(int64_t i) const { return anchors_[i].Read(); }

 private:
  KvShape shape_;
  KvSplit split_;
  std::vector<int> first_tokens_;
  std::vector<Bytes> page_bytes_;
  std::vector<DeviceArray<std::byte>> pages_, anchors_, residuals_;
  std::vector<std::optional<CodeBlocks>> want_;
};

// The Tail of a page, bit by bit.
Bytes TailOf(const PageNumbers& page, int first_token) {
  std::vector<bool> bits;
  ForGroups(page.shape(), [&](KvSide side, int head, int c) {
    const CodedGroup group = *CodeGroup(page, side, head, c, first_token);
    for (int t = first_token; t < kPageTokens; ++t) {
      const TailInterval interval = TailIntervalOf(group.codes[t], group.lo, StepOf(group.k));
      const int rank = ToOrdered(page.at(side, head, t, c)) - interval.first;
      for (int b = 0; b < TailBits(interval.count); ++b) bits.push_back((rank >> b & 1) != 0);
    }
  });
  Bytes bytes((bits.size() + 7) / 8);
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) bytes[i / 8] |= std::byte{1} << i % 8;
  }
  return bytes;
}

// Pages whose groups hold all finite BF16 numbers: 64 neighbours a group, or one number 64 times
// where neighbours are too far apart for a code.
std::vector<TestPage> PagesOfAllNumbers(KvShape shape) {
  std::vector<TestPage> pages;
  int next = kOrderedMin;
  while (next <= kOrderedMax) {
    PageNumbers page(shape);
    ForGroups(shape, [&](KvSide side, int head, int c) {
      const auto number = [&](int i) {
        return FromOrdered(static_cast<uint16_t>(std::min<int>(i, kOrderedMax)));
      };
      const bool near =
          GroupStepCode(ToFloat(number(next)), ToFloat(number(next + 63))) <= kMaxStep;
      for (int t = 0; t < kPageTokens; ++t) {
        // Not in order: the minimum may be anywhere.
        page.at(side, head, t, c) = number(near ? next + (t * 29 + 7) % 64 : next);
      }
      next += near ? 64 : 1;
    });
    pages.push_back({page});
  }
  return pages;
}

// A page whose groups have the edges of the code.
PageNumbers PageOfEdges(KvShape shape) {
  const auto number = [](float x) { return ToBf16(x); };
  PageNumbers page = RandomPage(shape, kPageTokens, 21);
  const auto set = [&](int c, auto f) {
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      for (int t = 0; t < kPageTokens; ++t) page.at(side, 0, t, c) = f(t);
    }
  };
  set(0, [&](int) { return number(1.5f); });                                // max == lo
  set(1, [&](int t) { return bf16{static_cast<uint16_t>(t % 2 << 15)}; });  // 0 and -0
  set(2, [&](int t) { return bf16{static_cast<uint16_t>(t)}; });            // denormals
  set(3, [&](int t) { return bf16{static_cast<uint16_t>(0x8000 | t)}; });
  set(4, [&](int t) { return number(t == 63 ? 15.2e6f : 0.0f); });  // the widest step
  set(5, [&](int t) { return number(static_cast<float>(t * 4)); });
  set(6, [&](int t) { return number(t == 0 ? -1e30f : -1e30f); });
  set(7, [&](int t) { return number(t < 4 ? 1e6f * static_cast<float>(t) : 0.5f); });
  for (int c = 8; c < 12; ++c) {  // every code
    set(c, [&](int t) { return number(static_cast<float>((c - 8) * 64 + t) * (t > 0 ? 1 : 0)); });
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) page.at(side, 0, 1, c) = number(255.0f);
  }
  return page;
}

TEST_CASE("every split gives the specification's blocks") {
  const KvSplit split{GENERATE(range(3, 9)), GENERATE(range(3, 9))};
  INFO("K " << split.k_bits << ", V " << split.v_bits);
  const KvShape shape{1, (split.k_bits + split.v_bits) % 4 == 0 ? 128 : 64};
  Coder coder(split, {{PageOfEdges(shape), 0}, {PageOfEdges(shape), kSinkTokens}});
  coder.CheckSplit();
}

TEST_CASE("head sizes, several heads and schedules") {
  const KvShape shape = GENERATE(KvShape{3, 64}, KvShape{2, 128}, KvShape{1, 256});
  PageNumbers sinks = RandomPage(shape, kPageTokens, 22);
  for (int t = 0; t < kSinkTokens; ++t) sinks.at(KvSide::kKey, 0, t, 5) = {0x7f80};
  Coder coder({5, 4}, {{RandomPage(shape, kPageTokens, 23)}, {sinks, kSinkTokens}});
  const Bytes tail = TailOf(sinks, kSinkTokens);
  ForEachSchedule([&] {
    coder.CheckSplit();
    const std::vector<Bytes> tails = coder.EncodeTails();
    CHECK((tails[1] == tail));
    const auto decoded = coder.DecodeTails(tails, std::byte{0x5a});
    CHECK(decoded.bad == std::vector<int32_t>{0, 0});
    CHECK((decoded.pages[0] == coder.page_bytes(0)));
    // The sinks are left alone.
    PageNumbers want = sinks;
    ForGroups(shape, [&](KvSide side, int head, int c) {
      for (int t = 0; t < kSinkTokens; ++t) want.at(side, head, t, c) = {0x5a5a};
    });
    CHECK((decoded.pages[1] == want.bytes()));
  });
}

TEST_CASE("all finite BF16 numbers keep their bits through code and Tail") {
  const std::vector<TestPage> pages = PagesOfAllNumbers({4, 128});
  Coder coder({5, 4}, pages);
  coder.CheckSplit();
  const std::vector<Bytes> tails = coder.EncodeTails();
  const auto decoded = coder.DecodeTails(tails, std::byte{0});
  for (int64_t i = 0; i < coder.count(); ++i) {
    INFO("page " << i);
    CHECK((tails[i] == TailOf(pages[i].numbers, 0)));
    CHECK(decoded.bad[i] == 0);
    CHECK((decoded.pages[i] == coder.page_bytes(i)));
  }
}

TEST_CASE("edges keep their bits through code and Tail") {
  const int first_token = GENERATE(0, kSinkTokens);
  const KvSplit split = GENERATE(KvSplit{3, 7}, KvSplit{8, 8}, KvSplit{4, 8});
  const PageNumbers page = PageOfEdges({1, 64});
  Coder coder(split, {{page, first_token}});
  coder.CheckSplit();
  const std::vector<Bytes> tails = coder.EncodeTails();
  CHECK((tails[0] == TailOf(page, first_token)));
  const auto decoded = coder.DecodeTails(tails, std::byte{0});
  CHECK(decoded.bad[0] == 0);
}

TEST_CASE("pages without a code are raw") {
  const KvShape shape{1, 64};
  const PageNumbers good = RandomPage(shape, kPageTokens, 24);
  std::vector<TestPage> pages = {{good}};
  for (int bits = 0; bits < 0x10000; ++bits) {  // all infinities and NaNs, anywhere
    const bf16 x{static_cast<uint16_t>(bits)};
    if (IsFinite(x)) continue;
    pages.push_back({good});
    const KvSide side = bits % 2 == 0 ? KvSide::kKey : KvSide::kValue;
    pages.back().numbers.at(side, 0, bits % 61 + 3, bits % 64) = x;
  }
  pages.push_back({good});  // a step beyond k = 127
  pages.back().numbers.at(KvSide::kValue, 0, 63, 63) = ToBf16(15.5e6f);
  pages.push_back({good});  // the difference overflows
  pages.back().numbers.at(KvSide::kKey, 0, 1, 1) = ToBf16(3e38f);
  pages.back().numbers.at(KvSide::kKey, 0, 2, 1) = ToBf16(-3e38f);
  Coder({5, 4}, pages).CheckSplit();
}

TEST_CASE("a Tail that does not fit is refused") {
  const KvShape shape{1, 64};
  Coder coder({5, 4}, {{RandomPage(shape, kPageTokens, 25)}});
  coder.CheckSplit();
  const Bytes tail = coder.EncodeTails()[0];
  const auto is_bad = [&](const Bytes& bytes) {
    return coder.DecodeTails({bytes}, std::byte{0}).bad[0] == 1;
  };
  CHECK_FALSE(is_bad(tail));
  for (size_t size : {size_t{0}, size_t{1}, size_t{3}, tail.size() / 2, tail.size() - 1}) {
    CHECK(is_bad(Bytes(tail.begin(), tail.begin() + static_cast<int64_t>(size))));
  }
  Bytes changed = tail;
  changed.push_back(std::byte{0});
  CHECK(is_bad(changed));
  CHECK(is_bad(Bytes(tail.size(), std::byte{0xff})));  // ranks beyond their intervals

  const Bytes anchor = coder.Anchor(0);
  Bytes other = anchor;
  other[0] = std::byte{0x80};  // lo of a K group: infinity
  other[1] = std::byte{0x7f};
  coder.SetAnchor(0, other);
  CHECK(is_bad(tail));
  for (int k : {-128, 127}) {  // another step: intervals of other sizes
    other = anchor;
    other[64 * 2] = static_cast<std::byte>(k);
    coder.SetAnchor(0, other);
    CHECK(is_bad(tail));
  }
}

TEST_CASE("set filling bits are refused") {
  const KvShape shape{1, 64};
  // A group's size in bits is changed until the last byte has filling bits.
  for (uint32_t seed = 30; seed < 60; ++seed) {
    const PageNumbers page = RandomPage(shape, kPageTokens, seed);
    Coder coder({5, 4}, {{page}});
    coder.CheckSplit();
    Bytes tail = coder.EncodeTails()[0];
    tail.back() |= std::byte{0x80};
    // If bit 7 is in use, the changed rank may be one of its interval.
    const auto decoded = coder.DecodeTails({tail}, std::byte{0});
    if (tail == coder.EncodeTails()[0]) continue;
    if (decoded.bad[0] == 1) return;
    CHECK((decoded.pages[0] != page.bytes()));
  }
  FAIL("no page with filling bits");
}

TEST_CASE("packed tokens") {
  const KvShape shape = GENERATE(KvShape{3, 64}, KvShape{2, 128}, KvShape{1, 256});
  const PageNumbers page = RandomPage(shape, kPageTokens, 26);
  const auto device_page = OnDevice(page.bytes());
  struct Range {
    int begin, end;
  };
  const std::vector<Range> ranges = {{0, 4}, {0, 64}, {63, 64}, {5, 5}, {10, 37}};
  ForEachSchedule([&] {
    std::vector<DeviceArray<std::byte>> packed, pages;
    std::vector<PackJob> pack, unpack;
    for (const Range& r : ranges) {
      const int64_t bytes = static_cast<int64_t>(PackedTokenBytes(shape)) * (r.end - r.begin);
      packed.emplace_back(bytes);
      pages.emplace_back(static_cast<int64_t>(Bf16PageBytes(shape)));
      pack.push_back({device_page.data(), packed.back().data(), r.begin, r.end});
      unpack.push_back({pages.back().data(), packed.back().data(), r.begin, r.end});
    }
    const auto pack_jobs = OnDevice(pack), unpack_jobs = OnDevice(unpack);
    const int64_t count = std::ssize(ranges);
    REQUIRE(PackTokens({shape, pack_jobs.data(), count}, nullptr) == cudaSuccess);
    REQUIRE(UnpackTokens({shape, unpack_jobs.data(), count}, nullptr) == cudaSuccess);
    for (int64_t i = 0; i < count; ++i) {
      const Range r = ranges[i];
      CHECK((packed[i].Read() == testing::Packed(page, r.begin, r.end)));
      PageNumbers want(shape);
      ForGroups(shape, [&](KvSide side, int head, int c) {
        for (int t = r.begin; t < r.end; ++t) {
          want.at(side, head, t, c) = page.at(side, head, t, c);
        }
      });
      CHECK((pages[i].Read() == want.bytes()));
    }
  });
}

TEST_CASE("shapes and splits that are not supported are refused") {
  CHECK(SplitPages({.shape = {1, 96}}, nullptr) == cudaErrorInvalidValue);
  CHECK(SplitPages({.shape = {1, 64}, .split = {2, 4}}, nullptr) == cudaErrorInvalidValue);
  CHECK(TailEncode({.shape = {1, 64}, .split = {5, 9}}, nullptr) == cudaErrorInvalidValue);
  CHECK(TailDecode({.shape = {0, 64}}, nullptr) == cudaErrorInvalidValue);
  CHECK(PackTokens({.shape = {1, 32}}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace lynx::cuda
