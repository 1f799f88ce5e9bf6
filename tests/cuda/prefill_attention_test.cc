// The prefill's attention against double precision, and a row's bits for every chunking.
#include "kernels/cuda/prefill_attention.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "kernels/cuda/exp_inl.h"
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

struct Model {
  KvShape shape{1, 64};
  int q_heads = 2;
  int64_t window = 0;
  float scale() const { return 1 / std::sqrt(static_cast<float>(shape.head_dim)); }
  int64_t width() const { return int64_t{q_heads} * shape.head_dim; }
};

// Rows [first_position, first_position + rows) of a sequence.
struct Chunk {
  const TestSequence* kv;
  int64_t first_position;
  int32_t rows;
};

// Runs the chunks as one batch; q holds their rows one after another.
std::vector<bf16> Run(const Model& model, const std::vector<Chunk>& chunks,
                      const std::vector<float>& q) {
  std::vector<PrefillSequence> sequences;
  int32_t rows = 0, most = 0;
  for (const Chunk& chunk : chunks) {
    const AttentionSequence s = chunk.kv->Rows(chunk.first_position, chunk.rows, rows);
    sequences.push_back({.pages = s.pages,
                         .page_stride = s.page_stride,
                         .first_position = s.first_position,
                         .row_begin = s.row_begin,
                         .rows = s.rows});
    rows += chunk.rows;
    most = std::max(most, chunk.rows);
  }
  const auto device_sequences = OnDevice(sequences);
  const auto device_q = OnDevice(q);
  DeviceArray<bf16> out(rows * model.width());
  REQUIRE(PrefillAttention({.shape = model.shape,
                            .q_heads = model.q_heads,
                            .scale = model.scale(),
                            .window = model.window,
                            .layer = 1,
                            .sequences = device_sequences.data(),
                            .sequence_count = std::ssize(sequences),
                            .max_rows = most,
                            .q = device_q.data(),
                            .q_stride = model.width(),
                            .out = out.data(),
                            .out_stride = model.width()},
                           nullptr) == cudaSuccess);
  return out.Read();
}

std::vector<float> RowsOf(const std::vector<float>& q, const Model& model, int64_t begin,
                          int64_t end) {
  return {q.begin() + begin * model.width(), q.begin() + end * model.width()};
}

// The largest error of some rows, as a multiple of what is allowed.
double WorstError(const Model& model, const TestSequence& kv, int64_t first_position,
                  const std::vector<float>& q, const std::vector<bf16>& out) {
  const int d = model.shape.head_dim, group = model.q_heads / model.shape.kv_heads;
  const int64_t rows = std::ssize(q) / model.width();
  double worst = 0;
  for (int64_t r = 0; r<rows; r += rows> 10 ? 7 : 1) {
    const int64_t position = first_position + r;
    const int64_t begin = model.window > 0 ? std::max<int64_t>(0, position - model.window + 1) : 0;
    std::vector<int64_t> places(static_cast<size_t>(position - begin + 1));
    std::iota(places.begin(), places.end(), begin);
    for (int h = 0; h < model.q_heads; ++h) {
      const int64_t at = r * model.width() + h * d;
      const Exact exact = ExactAttention(kv, q.data() + at, model.scale(), h / group, places);
      for (int c = 0; c < d; ++c) {
        const double error = std::abs(ToFloat(out[at + c]) - exact.out[c]);
        // P's rounding, in the sum and in its divisor, and the output's.
        const double allowed = 0x1p-8 * exact.magnitude[c] + 0x1p-8 * std::abs(exact.out[c]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error / allowed);
      }
    }
  }
  return worst;
}

TEST_CASE("lengths, from the start and behind a context") {
  const Model model{};
  for (int64_t tokens : {1, 31, 33, 63, 64, 65, 200}) {
    const TestSequence kv(model.shape, {}, tokens, {}, 1);
    const std::vector<float> q = RandomQueries(tokens, model.q_heads, 64, 2);
    for (int64_t first : {int64_t{0}, tokens / 2}) {
      INFO(tokens << " tokens from " << first);
      const std::vector<float> rows = RowsOf(q, model, first, tokens);
      const Chunk chunk{&kv, first, static_cast<int32_t>(tokens - first)};
      std::vector<bf16> before;
      ForEachSchedule([&] {
        const std::vector<bf16> out = Run(model, {chunk}, rows);
        if (before.empty()) CHECK(WorstError(model, kv, first, rows, out) < 1);
        if (!before.empty()) CHECK((out == before));
        before = out;
      });
    }
  }
}

TEST_CASE("head sizes, groups of heads and windows") {
  struct Shape {
    int kv_heads, group, head_dim;
    int64_t window;
  };
  const Shape s =
      GENERATE(Shape{2, 1, 64, 0}, Shape{1, 3, 64, 70}, Shape{1, 7, 64, 1}, Shape{2, 4, 128, 0},
               Shape{1, 8, 128, 33}, Shape{1, 2, 256, 0}, Shape{1, 1, 256, 64});
  const Model model{
      .shape = {s.kv_heads, s.head_dim}, .q_heads = s.kv_heads * s.group, .window = s.window};
  const TestSequence kv(model.shape, {}, 150, {}, 3);
  const std::vector<float> q = RandomQueries(70, model.q_heads, s.head_dim, 4);
  const std::vector<bf16> out = Run(model, {{&kv, 80, 70}}, q);
  CHECK(WorstError(model, kv, 80, q, out) < 1);
}

TEST_CASE("a row has the same bits for every chunking") {
  struct Shape {
    int group, head_dim;
    int64_t window;
  };
  const Shape s = GENERATE(Shape{2, 64, 0}, Shape{3, 64, 50}, Shape{3, 128, 0}, Shape{1, 256, 0});
  const Model model{.shape = {1, s.head_dim}, .q_heads = s.group, .window = s.window};
  const int32_t tokens = 170;
  const TestSequence kv(model.shape, {}, tokens, {}, 5);
  const std::vector<float> q = RandomQueries(tokens, model.q_heads, s.head_dim, 6);
  const std::vector<bf16> whole = Run(model, {{&kv, 0, tokens}}, q);
  for (int32_t chunk : {1, 13, 64, 100}) {
    if (chunk == 1 && s.head_dim > 64) continue;
    std::vector<bf16> out;
    for (int32_t begin = 0; begin < tokens; begin += chunk) {
      const int32_t end = std::min(begin + chunk, tokens);
      // There is nothing behind the chunk yet.
      const TestSequence part(model.shape, {}, end, {}, 5);
      const auto rows = Run(model, {{&part, begin, end - begin}}, RowsOf(q, model, begin, end));
      out.insert(out.end(), rows.begin(), rows.end());
    }
    INFO("chunks of " << chunk);
    CHECK((out == whole));
  }
}

TEST_CASE("several sequences in one launch") {
  const Model model{};
  const TestSequence one(model.shape, {}, 100, {}, 7), other(model.shape, {}, 30, {}, 8);
  const std::vector<float> q = RandomQueries(130, model.q_heads, 64, 9);
  const auto both = Run(model, {{&one, 0, 100}, {&other, 0, 30}}, q);
  auto each = Run(model, {{&one, 0, 100}}, RowsOf(q, model, 0, 100));
  const auto second = Run(model, {{&other, 0, 30}}, RowsOf(q, model, 100, 130));
  each.insert(each.end(), second.begin(), second.end());
  CHECK((both == each));
}

TEST_CASE("Exp of negative numbers has Exp's bits") {
  const auto same = [](float x) {
    const float got = ExpOfNegative(x), want = Exp(x);
    return std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(want);
  };
  size_t different = 0;
  const uint32_t zero = std::bit_cast<uint32_t>(-0.0f), end = std::bit_cast<uint32_t>(-INFINITY);
  for (uint32_t bits = zero; bits <= end; bits += 1009) {
    if (!same(std::bit_cast<float>(bits))) ++different;
  }
  for (float x : {0.0f, -0.0f, -87.33f, -87.330002f, -87.32f, -88.0f, -1e30f, -INFINITY}) {
    if (!same(x)) ++different;
  }
  CHECK(different == 0);
  CHECK(std::isnan(ExpOfNegative(NAN)));
}

TEST_CASE("shapes that are not supported are refused") {
  CHECK(PrefillAttention({.shape = {1, 96}, .q_heads = 1}, nullptr) == cudaErrorInvalidValue);
  CHECK(PrefillAttention({.shape = {2, 64}, .q_heads = 3}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace lynx::cuda
