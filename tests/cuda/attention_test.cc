// Attention of few rows against double precision, and the equality of a row's bits wherever it
// stands.
#include "kernels/cuda/attention.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "tests/cuda/attention_cases.h"
#include "tests/cuda/schedules.h"

namespace lynx::cuda {
namespace {

using testing::DeviceArray;
using testing::Exact;
using testing::ExactAttention;
using testing::ForEachSchedule;
using testing::OnDevice;
using testing::RandomQueries;
using testing::TestSequence;

constexpr KvPageKind kBf16 = KvPageKind::kBf16, kAnchor = KvPageKind::kAnchor,
                     kFull = KvPageKind::kFull;

struct Model {
  KvShape shape{2, 64};
  KvSplit split{5, 4};
  int q_heads = 4;
  int64_t window = 0;
  float scale() const { return 1 / std::sqrt(static_cast<float>(shape.head_dim)); }
  int64_t width() const { return int64_t{q_heads} * shape.head_dim; }
};

struct Result {
  std::vector<bf16> out;
  std::vector<float> partials;
};

// Runs the batch over q [rows, q_heads, head_dim], in strided memory.
Result Run(const Model& model, const std::vector<AttentionSequence>& sequences,
           const std::vector<float>& q) {
  std::vector<AttentionRows> rows;
  for (const AttentionSequence& s : sequences) rows.push_back({s.first_position, s.rows});
  AttentionPlan plan;
  PlanAttention(rows, model.q_heads, model.shape.kv_heads, model.window, &plan);
  const int64_t count = std::ssize(q) / model.width(), stride = model.width() + 32;
  std::vector<float> strided(static_cast<size_t>(count * stride), NAN);
  for (int64_t i = 0; i < std::ssize(q); ++i) {
    strided[i / model.width() * stride + i % model.width()] = q[i];
  }
  const auto device_sequences = OnDevice(sequences);
  const auto tiles = OnDevice(plan.tiles);
  const auto items = OnDevice(plan.items);
  const auto device_q = OnDevice(strided);
  DeviceArray<float> partials(
      static_cast<int64_t>(AttentionPartialFloats(model.shape, plan.items.size())));
  DeviceArray<bf16> out(count * model.width());
  REQUIRE(Attention({.shape = model.shape,
                     .split = model.split,
                     .q_heads = model.q_heads,
                     .scale = model.scale(),
                     .window = model.window,
                     .layer = 1,
                     .sequences = device_sequences.data(),
                     .tiles = tiles.data(),
                     .items = items.data(),
                     .tile_count = std::ssize(plan.tiles),
                     .item_count = std::ssize(plan.items),
                     .q = device_q.data(),
                     .q_stride = stride,
                     .partials = partials.data(),
                     .out = out.data(),
                     .out_stride = model.width()},
                    nullptr) == cudaSuccess);
  return {out.Read(), partials.Read()};
}

// Places of the tokens that a row at `position` sees.
std::vector<int64_t> Places(int64_t position, int64_t window) {
  const int64_t begin = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
  std::vector<int64_t> places(static_cast<size_t>(position - begin + 1));
  std::iota(places.begin(), places.end(), begin);
  return places;
}

// The largest error of a row, as a multiple of what is allowed: `relative` of the sum of p |v|, and
// the output's rounding.
double WorstError(const Model& model, const TestSequence& kv, const float* q, const bf16* out,
                  const std::vector<int64_t>& places, double relative) {
  const int d = model.shape.head_dim, group = model.q_heads / model.shape.kv_heads;
  double worst = 0;
  for (int h = 0; h < model.q_heads; ++h) {
    const Exact exact = ExactAttention(kv, q + h * d, model.scale(), h / group, places);
    for (int c = 0; c < d; ++c) {
      const double error = std::abs(ToFloat(out[h * d + c]) - exact.out[c]);
      const double allowed = relative * exact.magnitude[c] + 0x1p-8 * std::abs(exact.out[c]);
      const double ratio = error / allowed;
      worst = std::isnan(ratio) ? INFINITY : std::max(worst, ratio);
    }
  }
  return worst;
}

// Rows at the end of one sequence, over all schedules.
void CheckRows(const Model& model, const TestSequence& kv, int32_t rows) {
  const int64_t first = kv.tokens() - rows;
  const std::vector<float> q = RandomQueries(rows, model.q_heads, model.shape.head_dim, 7);
  std::vector<bf16> before;
  ForEachSchedule([&] {
    const Result result = Run(model, {kv.Rows(first, rows)}, q);
    if (!before.empty()) {
      CHECK((result.out == before));
      return;
    }
    before = result.out;
    double worst = 0;
    for (int32_t r = 0; r < rows; ++r) {
      // P's rounding is 2^-9 of each weight, in the sum and in its divisor.
      worst = std::max(worst, WorstError(model, kv, q.data() + r * model.width(),
                                         result.out.data() + r * model.width(),
                                         Places(first + r, model.window), 0x1p-8));
    }
    CHECK(worst < 1);
  });
}

TEST_CASE("lengths over BF16 pages") {
  const Model model{};
  for (int64_t tokens : {1, 63, 64, 65, 200, 1030}) {
    INFO(tokens << " tokens");
    CheckRows(model, TestSequence(model.shape, model.split, tokens, {}, 1), 1);
  }
}

TEST_CASE("lengths over code pages") {
  const KvPageKind kind = GENERATE(kAnchor, kFull);
  const Model model{};
  for (int64_t tokens : {65, 128, 200, 1030}) {
    INFO(tokens << " tokens");
    const std::vector<KvPageKind> kinds(static_cast<size_t>(tokens / kPageTokens), kind);
    CheckRows(model, TestSequence(model.shape, model.split, tokens, kinds, 2), 1);
  }
}

TEST_CASE("head sizes, groups of heads and kinds mixed in one sequence") {
  struct Shape {
    int kv_heads, group, head_dim;
    int32_t rows;
  };
  const Shape s = GENERATE(Shape{2, 1, 64, 1}, Shape{1, 3, 64, 7}, Shape{1, 7, 64, 5},
                           Shape{1, 8, 128, 3}, Shape{2, 4, 128, 4}, Shape{1, 4, 256, 5});
  const Model model{.shape = {s.kv_heads, s.head_dim}, .q_heads = s.kv_heads * s.group};
  CheckRows(model, TestSequence(model.shape, model.split, 300, {kFull, kBf16, kAnchor, kFull}, 3),
            s.rows);
}

TEST_CASE("every split of the code") {
  const int k_bits = GENERATE(range(3, 9)), v_bits = GENERATE(range(3, 9));
  const int head_dim = (k_bits + v_bits) % 3 == 0 ? 128 : 64;
  const Model model{.shape = {1, head_dim}, .split = {k_bits, v_bits}, .q_heads = 2};
  INFO("K " << k_bits << ", V " << v_bits);
  const TestSequence kv(model.shape, model.split, 135, {kAnchor, kFull}, 4);
  const std::vector<float> q = RandomQueries(1, 2, head_dim, 5);
  const Result result = Run(model, {kv.Rows(134, 1)}, q);
  CHECK(WorstError(model, kv, q.data(), result.out.data(), Places(134, 0), 0x1p-8) < 1);
}

// The partial result of a single split has no rounding to BF16.
TEST_CASE("full pages are far more exact than their code") {
  const int head_dim = GENERATE(64, 128);
  const Model model{.shape = {1, head_dim}, .q_heads = 4};
  const TestSequence kv(model.shape, model.split, 512, std::vector<KvPageKind>(8, kFull), 6);
  const std::vector<float> q = RandomQueries(1, 4, head_dim, 8);
  const Result result = Run(model, {kv.Rows(511, 1)}, q);
  double worst = 0;
  for (int h = 0; h < 4; ++h) {
    const Exact exact =
        ExactAttention(kv, q.data() + h * head_dim, model.scale(), 0, Places(511, 0));
    const float* partial = result.partials.data() + h * (head_dim + 2);
    for (int c = 0; c < head_dim; ++c) {
      const double got = static_cast<double>(partial[c]) / partial[head_dim + 1];
      worst = std::max(worst, std::abs(got - exact.out[c]) / exact.magnitude[c]);
    }
  }
  INFO("worst error " << worst);
  CHECK(worst < 0x1p-14);
}

TEST_CASE("windows") {
  const int64_t window = GENERATE(1, 3, 64, 100, 520, 5000);
  const Model model{.shape = {1, 64}, .q_heads = 2, .window = window};
  INFO("window " << window);
  CheckRows(model,
            TestSequence(model.shape, model.split, 700, {kFull, kFull, kAnchor, kFull, kFull}, 9),
            3);
  CheckRows(model, TestSequence(model.shape, model.split, 67, {kFull}, 10), 3);
}

// Rows [begin, begin + count) of q or out.
template <class T>
std::vector<T> Slice(const std::vector<T>& all, const Model& model, int64_t begin, int64_t count) {
  return {all.begin() + begin * model.width(), all.begin() + (begin + count) * model.width()};
}

TEST_CASE("a row has the same bits alone, in a verification and in a batch") {
  const int64_t window = GENERATE(0, 130);
  const Model model{.shape = {1, 64}, .q_heads = 3, .window = window};
  const int32_t rows = 65;
  const TestSequence kv(model.shape, model.split, 580, std::vector<KvPageKind>(7, kFull), 11);
  const TestSequence other(model.shape, model.split, 70, {kAnchor}, 12);
  const int64_t first = 580 - rows;
  const std::vector<float> q = RandomQueries(rows, model.q_heads, 64, 13);
  const std::vector<bf16> together = Run(model, {kv.Rows(first, rows)}, q).out;
  for (int64_t r = 0; r < rows; r += 4) {
    INFO("row " << r);
    // The sequence ends with the row: there are no later tokens, and no later pages.
    const TestSequence shorter(model.shape, model.split, first + r + 1,
                               std::vector<KvPageKind>(7, kFull), 11);
    const auto alone = Run(model, {shorter.Rows(first + r, 1)}, Slice(q, model, r, 1)).out;
    CHECK((alone == Slice(together, model, r, 1)));
  }
  std::vector<float> batch = RandomQueries(2, model.q_heads, 64, 14);
  batch.insert(batch.end(), q.begin(), q.end());
  const auto batched =
      Run(model, {kv.Rows(first, rows, 2), other.Rows(69, 1, 0), kv.Rows(first, 1, 1)}, batch).out;
  CHECK((Slice(batched, model, 2, rows) == together));
}

TEST_CASE("rows of a tree find their tokens in slots") {
  const Model model{.shape = {2, 64}, .q_heads = 4};
  // 150 tokens in their places, then a tree's 20 nodes; the deepest path is 150, 152, ... 168.
  const int64_t context = 150;
  const TestSequence tree(model.shape, model.split, context + 20, {kFull, kFull}, 15);
  std::vector<int32_t> slots;
  for (int32_t i = 0; i < 10; ++i) slots.push_back(static_cast<int32_t>(context) + 2 * i);
  const auto device_slots = OnDevice(slots);
  const std::vector<float> q = RandomQueries(10, model.q_heads, 64, 16);
  std::vector<AttentionSequence> rows;
  for (int32_t i = 0; i < 10; ++i) {
    rows.push_back(tree.Rows(context + i, 1, i));
    rows.back().slots = device_slots.data();
    rows.back().slot_begin = context;
  }
  ForEachSchedule([&] {
    const std::vector<bf16> out = Run(model, rows, q).out;
    double worst = 0;
    for (int64_t i = 0; i < 10; ++i) {
      std::vector<int64_t> places = Places(context - 1, 0);
      places.insert(places.end(), slots.begin(), slots.begin() + i + 1);
      worst = std::max(worst, WorstError(model, tree, q.data() + i * model.width(),
                                         out.data() + i * model.width(), places, 0x1p-8));
    }
    CHECK(worst < 1);
  });
}

TEST_CASE("a path through slots has the bits of the same tokens in their places") {
  const Model model{.shape = {2, 64}, .q_heads = 4};
  const TestSequence kv(model.shape, model.split, 200, {kFull, kFull}, 17);
  const std::vector<float> q = RandomQueries(1, model.q_heads, 64, 18);
  const std::vector<bf16> plain = Run(model, {kv.Rows(199, 1)}, q).out;
  std::vector<int32_t> slots(60);
  std::iota(slots.begin(), slots.end(), 140);
  const auto device_slots = OnDevice(slots);
  AttentionSequence row = kv.Rows(199, 1);
  row.slots = device_slots.data();
  row.slot_begin = 140;
  CHECK((Run(model, {row}, q).out == plain));
}

TEST_CASE("shapes that are not supported are refused") {
  AttentionParams params{.shape = {1, 96}, .q_heads = 1};
  params.item_count = 1;
  CHECK(Attention(params, nullptr) == cudaErrorInvalidValue);
  params.shape = {2, 64};
  params.q_heads = 3;
  CHECK(Attention(params, nullptr) == cudaErrorInvalidValue);
  params.q_heads = 4;
  params.split = {2, 4};
  CHECK(Attention(params, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace lynx::cuda
