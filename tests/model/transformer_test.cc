// The forward pass against naive double precision, and bit for bit against itself.
//
// Tolerance. The naive pass is run twice: in double (N), and repeating the engine's BF16 roundings
// (R). R - N is what rounding does; the engine (E) may differ from R only by float32 accumulation,
// 2^-24 a sum instead of 2^-9, and where that tips a number over to the next BF16. Some 2^-24 *
// sqrt(64) / 2^-9 = 2^-12 of the numbers tip, each by one unit, that is sqrt(12) times the rms of a
// rounding, so rms(E - R) is about sqrt(12 * 2^-12) = 1/18 of rms(R - N). Later layers pass tips
// on, so a third is allowed; an operation that is missing or wrong gives several times R - N.
// Rows in which nothing tips agree to float32 accumulation alone; there must be such rows.
#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/model/engine_runs.h"
#include "tests/reference/naive_model.h"

namespace lynx {
namespace {

using reference::GivenKv;
using reference::NaiveModel;
using reference::Rounding;

const std::string kModels = LYNX_TEST_DATA "/models/";
constexpr double kFloatShare = 1.0 / 3;

std::vector<int32_t> Tokens(int64_t count, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& t : tokens) t = static_cast<int32_t>(random() % 300);
  return tokens;
}

const Kernels& Fastest() { return *AvailableKernels().back(); }

bool SameBits(const LogitRows& a, const LogitRows& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](auto& x, auto& y) {
           return std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
         });
}

template <typename A, typename B>
double RmsDifference(const A& a, const B& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0, count = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].size() == b[i].size());
    for (size_t j = 0; j < a[i].size(); ++j, ++count) {
      sum += (double{a[i][j]} - b[i][j]) * (double{a[i][j]} - b[i][j]);
    }
  }
  return std::sqrt(sum / count);
}

// E against R and N, as said above.
void CheckAgainstNaive(const LogitRows& engine, const NaiveModel::Rows& rounded,
                       const NaiveModel::Rows& exact) {
  const double rounding = RmsDifference(rounded, exact);
  const double rest = RmsDifference(engine, rounded);
  const double size = RmsDifference(
      exact, NaiveModel::Rows(exact.size(), std::vector<double>(exact[0].size(), 0.0)));
  INFO("rms of logits " << size << ", BF16 rounding " << rounding << ", engine " << rest);
  CHECK(rest < kFloatShare * rounding);
  double best = rest;
  for (size_t i = 0; i < engine.size(); ++i) {
    best = std::min(best, RmsDifference(std::span(&engine[i], 1), std::span(&rounded[i], 1)));
  }
  CHECK(best < 0x1p-20 * size);   // a row in which nothing tips: float32 accumulation alone
  CHECK(rounding < 0.02 * size);  // else the two tests above would say little
}

void CheckModel(const std::string& name, const ModelConfig& config, const Weights& weights,
                int64_t count) {
  const auto tokens = Tokens(count);
  const NaiveModel naive(kModels + name, config);
  EngineRun run(config, weights, Fastest(), 1);
  CheckAgainstNaive(run.Logits(tokens, 64), naive.Logits(tokens, Rounding::kBf16),
                    naive.Logits(tokens, Rounding::kNone));
}

TEST_CASE("transformer: logits equal naive double precision") {
  for (const std::string name : {"tiny-llama", "tiny-qwen2"}) {
    INFO(name);
    const LoadedModel model = LoadForTest(kModels + name);
    CheckModel(name, model.config, model.weights, 600);
  }
}

TEST_CASE("transformer: RoPE scalings equal naive double precision") {
  const LoadedModel model = LoadForTest(kModels + "tiny-llama");
  std::vector<RopeConfig> ropes(5);
  ropes[0].scaling = RopeScaling::kLinear;
  ropes[0].factor = 4;
  ropes[1].theta = 500000;
  ropes[1].frequency_divisors = {1, 1, 1, 1.3f, 2.5f, 6, 8, 8};
  ropes[2].scaling = ropes[3].scaling = RopeScaling::kYarn;
  ropes[2].factor = 4;
  ropes[2].original_context = 128;
  ropes[3].factor = 16;
  ropes[3].original_context = 64;
  ropes[3].beta_fast = 16;
  ropes[3].beta_slow = 2;
  ropes[3].attention_factor = 1.25;
  ropes[4].frequency_divisors = {1, 1, 1.5, 2, 3, 5, 8, 8};
  for (size_t i = 0; i < ropes.size(); ++i) {
    INFO("variant " << i);
    ModelConfig config = model.config;
    config.rope = ropes[i];
    CheckModel("tiny-llama", config, model.weights, 160);
    // The variant is seen at all: it moves the logits by far more than rounding does.
    const auto tokens = Tokens(160);
    EngineRun plain(model.config, model.weights, Fastest(), 1),
        scaled(config, model.weights, Fastest(), 1);
    CHECK(RmsDifference(plain.Logits(tokens, 64), scaled.Logits(tokens, 64)) > 0.1);
  }
}

TEST_CASE("transformer: same bits for every chunking, tier and number of threads") {
  for (const std::string name : {"tiny-llama", "tiny-qwen2"}) {
    const LoadedModel model = LoadForTest(kModels + name);
    const auto tokens = Tokens(600);
    EngineRun run(model.config, model.weights, Fastest(), 1);
    const LogitRows wanted = run.Logits(tokens, 512);
    for (int64_t chunk : {1, 7, 64}) {
      INFO(name << ", chunk " << chunk);
      CHECK(SameBits(run.Logits(tokens, chunk), wanted));
    }
    for (const Kernels* kernels : AvailableKernels()) {
      for (int threads : {1, 2, 3}) {
        INFO(name << ", " << kernels->name << ", threads " << threads);
        EngineRun other(model.config, model.weights, *kernels, threads);
        CHECK(SameBits(other.Logits(tokens, 64), wanted));
      }
    }
  }
}

TEST_CASE("transformer: rows have the same bits alone and beside other sequences") {
  const LoadedModel model = LoadForTest(kModels + "tiny-qwen2");
  EngineRun run(model.config, model.weights, Fastest(), 2);
  constexpr int kSequences = 8;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::unique_ptr<KvSequence>> kvs;
  std::vector<LogitRows> wanted;
  for (int s = 0; s < kSequences; ++s) {
    tokens.push_back(Tokens(40 + 61 * s, 7 + s));
    wanted.push_back(run.Logits(tokens[s], 64));
    kvs.push_back(run.Plain(std::ssize(tokens[s])));
  }
  // The first part alone, then one pass of all with 1 to 15 rows each.
  std::vector<PassRows> pass;
  for (int s = 0; s < kSequences; ++s) {
    const int64_t rows = 1 + 2 * s, before = std::ssize(tokens[s]) - rows;
    run.Run(std::span(tokens[s]).first(before), 0, 64, kvs[s].get(), KvView::kTarget, nullptr);
    pass.push_back({std::span(tokens[s]).subspan(before), before, kvs[s].get(), KvView::kTarget});
  }
  run.transformer().Forward(PassKind::kDecode, pass);
  int64_t begin = 0;
  for (int s = 0; s < kSequences; ++s) {
    const int64_t rows = std::ssize(pass[s].tokens);
    LogitRows got;
    run.TakeLogits(begin, begin + rows, &got);
    CHECK(SameBits(got, LogitRows(wanted[s].end() - rows, wanted[s].end())));
    begin += rows;
  }
}

// The code P64 of one group by its definition, in float32: what each value stands for, for the
// whole code or, with `bits` below 8, for its Anchor.
std::vector<double> CodedValues(const std::vector<float>& group, int bits) {
  const auto [lo, hi] = std::minmax_element(group.begin(), group.end());
  int k = -128;
  while (static_cast<float>(std::exp2(k / 8.0)) < (*hi - *lo) / 255.0f) ++k;
  const float step = static_cast<float>(std::exp2(k / 8.0));
  const int left_out = 8 - bits;
  std::vector<double> out;
  for (float x : group) {
    const int q = static_cast<int>(std::clamp(std::nearbyint((x - *lo) / step), 0.0f, 255.0f));
    const double centre = ((q >> left_out) << left_out) + ((1 << left_out) - 1) / 2.0;
    out.push_back(double{*lo} + double{step} * centre);
  }
  return out;
}

// What the first `pages` pages of `plain` stand for in code of these bits.
GivenKv Given(KvSequence* plain, int64_t pages, KvSplit bits) {
  const KvGeometry g = plain->geometry();
  const int64_t width = int64_t{g.shape.kv_heads} * g.shape.head_dim;
  GivenKv given;
  given.tokens = pages * 64;
  std::vector<std::byte> packed(64 * PackedTokenBytes(g.shape));
  for (int layer = 0; layer < g.layers; ++layer) {
    for (auto* side : {&given.keys, &given.values}) side->emplace_back(given.tokens * width);
    for (int64_t page = 0; page < pages; ++page) {
      PackTokens(g.shape, plain->Bf16Page(layer, page), 0, 64, packed.data());
      for (int64_t channel = 0; channel < 2 * width; ++channel) {
        const bool key = channel < width;
        double* out =
            (key ? given.keys : given.values)[layer].data() + page * 64 * width + channel % width;
        std::vector<float> group(64);
        for (int t = 0; t < 64; ++t) {
          bf16 value;
          std::memcpy(&value, packed.data() + (t * 2 * width + channel) * 2, 2);
          group[t] = ToFloat(value);
          out[t * width] = group[t];  // the sinks stay so
        }
        const int first = page == 0 ? 4 : 0;
        group.erase(group.begin(), group.begin() + first);
        const auto coded = CodedValues(group, key ? bits.k_bits : bits.v_bits);
        for (int t = first; t < 64; ++t) out[t * width] = coded[t - first];
      }
    }
  }
  return given;
}

TEST_CASE("transformer: decoding over code pages equals naive double precision") {
  constexpr int64_t kPages = 9, kPrompt = kPages * 64, kDecoded = 24;
  const KvSplit split{5, 4};
  for (const std::string name : {"tiny-llama", "tiny-qwen2"}) {
    const LoadedModel model = LoadForTest(kModels + name);
    const NaiveModel naive(kModels + name, model.config);
    const auto tokens = Tokens(kPrompt + kDecoded);
    EngineRun run(model.config, model.weights, Fastest(), 1);
    const auto plain = run.Plain(kPrompt);
    run.Run(std::span(tokens).first(kPrompt), 0, 64, plain.get(), KvView::kTarget, nullptr);
    const auto kv = run.Coded(plain.get(), kPages, kPrompt + kDecoded, split);
    LogitRows whole, anchor;
    const auto decoded = std::span(tokens).subspan(kPrompt);
    run.Run(decoded, kPrompt, 1, kv.get(), KvView::kTarget, &whole);
    run.Run(decoded, kPrompt, 1, kv.get(), KvView::kDraft, &anchor);
    const GivenKv full = Given(plain.get(), kPages, {8, 8});
    const GivenKv coarse = Given(plain.get(), kPages, split);
    INFO(name);
    CheckAgainstNaive(whole, naive.Logits(tokens, Rounding::kBf16, &full),
                      naive.Logits(tokens, Rounding::kNone, &full));
    CheckAgainstNaive(anchor, naive.Logits(tokens, Rounding::kBf16, &coarse),
                      naive.Logits(tokens, Rounding::kNone, &coarse));
  }
}

}  // namespace
}  // namespace lynx
