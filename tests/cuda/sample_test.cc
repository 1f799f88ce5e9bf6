// Sampling on the device: the CPU's Sampler is the oracle, and every bit is compared. (Its own
// oracle, in doubles, is tests/model/sampling_oracle.h.)
#include "kernels/cuda/sample.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "runtime/cpu.h"
#include "tests/cuda/sample_cases.h"
#include "tests/cuda/schedules.h"

namespace lynx::cuda {
namespace {

using testing::ForEachSchedule;
using testing::SampleCase;
using testing::SampleRows;

constexpr float kInf = std::numeric_limits<float>::infinity();

bool Same(const SampleResult& a, const SampleResult& b) {
  return a.id == b.id && a.invalid_logits == b.invalid_logits &&
         std::bit_cast<uint64_t>(a.margin) == std::bit_cast<uint64_t>(b.margin);
}

// Only the first difference is reported.
void CheckRows(const std::vector<SampleCase>& cases, const std::vector<SampleResult>& want,
               const std::vector<SampleResult>& got) {
  REQUIRE(got.size() == want.size());
  for (size_t row = 0; row < want.size(); ++row) {
    if (Same(got[row], want[row])) continue;
    const SamplingParams& p = cases[row].params;
    INFO("row " << row << " of " << want.size() << ", vocabulary " << cases[row].logits.size()
                << ", T " << p.temperature << ", top_p " << p.top_p << ", top_k " << p.top_k
                << ", min_p " << p.min_p << ", seed " << p.seed << ", seen "
                << cases[row].prompt.size() + cases[row].output.size() << ", biases "
                << p.logit_bias.size() << ", banned " << cases[row].banned.size());
    CHECK(got[row].id == want[row].id);
    CHECK(got[row].margin == want[row].margin);
    CHECK(got[row].invalid_logits == want[row].invalid_logits);
    FAIL("a row differs");
  }
}

std::vector<SampleResult> Expected(const std::vector<SampleCase>& cases) {
  std::vector<SampleResult> want;
  for (const SampleCase& c : cases) want.push_back(c.Expected());
  return want;
}

void CheckAll(const std::vector<SampleCase>& cases) {
  const std::vector<SampleResult> want = Expected(cases);
  const SampleRows rows(cases);
  ForEachSchedule([&] { CheckRows(cases, want, rows.Sample()); });
  CheckRows(cases, want, rows.Sample(/*leave_out=*/true));
}

// Logits as models make them: a bulk far below a few good tokens, with ties.
std::vector<float> RandomLogits(std::mt19937& rng, int64_t vocab) {
  std::normal_distribution<float> bulk(-8.0f, 3.0f);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& x : logits) x = bulk(rng);
  for (int i = 0; i < 6; ++i) logits[rng() % logits.size()] = static_cast<float>(rng() % 5);
  for (int i = 0; i < 20; ++i) logits[rng() % logits.size()] = logits[rng() % logits.size()];
  return logits;
}

std::vector<int32_t> RandomIds(std::mt19937& rng, int64_t count, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(rng() % static_cast<uint64_t>(vocab));
  return ids;
}

// History, biases and bans at random, some ids outside the vocabulary.
void Adjust(SampleCase* c, std::mt19937& rng) {
  const int64_t vocab = std::ssize(c->logits);
  c->prompt = RandomIds(rng, rng() % 40, vocab + 3);
  c->output = RandomIds(rng, rng() % 40, vocab + 3);
  c->prompt.push_back(-1);
  if (rng() % 2) c->path = RandomIds(rng, rng() % 9, vocab + 3);
  // Twice, and one that is in the output too.
  if (!c->path.empty()) c->path.push_back(c->path[0]);
  if (!c->path.empty() && !c->output.empty()) c->path.push_back(c->output[0]);
  c->params.repetition_penalty = 1.3;
  c->params.presence_penalty = rng() % 2 ? 0.5 : 0.0;
  c->params.frequency_penalty = rng() % 2 ? -0.3 : 0.0;
  std::map<int32_t, double> biases;
  for (int32_t id : RandomIds(rng, 5, vocab)) biases[id] = rng() % 2 ? 2.7 : -100.0;
  for (int32_t id : c->path) {
    if (id < vocab && rng() % 2) biases[id] = 1.1;
  }
  c->params.logit_bias.assign(biases.begin(), biases.end());
  if (rng() % 2) c->banned = RandomIds(rng, 3, vocab + 1);
  if (rng() % 4 == 0) c->banned.push_back(c->banned.empty() ? 0 : c->banned[0]);
  if (rng() % 4 == 0) c->params.repetition_penalty = 1.0;
}

TEST_CASE("every combination of parameters on small vocabularies") {
  SetExactFloatMode();
  std::mt19937 rng(1);
  for (const int64_t vocab : {1, 2, 37, 300}) {
    std::vector<SampleCase> cases;
    for (const double t : {0.0, 0.7, 1.0, 50.0}) {
      for (const int32_t top_k : {0, 1, 2, 36, 1000}) {
        for (const double top_p : {1.0, 0.9, 0.0}) {
          for (const double min_p : {0.0, 0.1}) {
            SampleCase c{.logits = RandomLogits(rng, vocab)};
            c.params.temperature = t;
            c.params.top_k = top_k;
            c.params.top_p = top_p;
            c.params.min_p = min_p;
            c.params.seed = rng();
            c.position = static_cast<int64_t>(rng());
            if (cases.size() % 2) Adjust(&c, rng);
            REQUIRE(c.params.Validate(vocab).ok());
            cases.push_back(std::move(c));
          }
        }
      }
    }
    CheckAll(cases);
  }
}

TEST_CASE("a row's result is its own, alone and in any batch") {
  SetExactFloatMode();
  std::mt19937 rng(2);
  std::vector<SampleCase> cases;
  for (int i = 0; i < 12; ++i) {
    SampleCase c{.logits = RandomLogits(rng, 5000)};
    c.params.temperature = i % 4 == 3 ? 0.0 : 0.9;
    c.params.top_p = i % 2 ? 0.8 : 1.0;
    c.params.top_k = i % 3 == 1 ? 20 : 0;
    c.params.seed = rng();
    if (i % 5 == 4) Adjust(&c, rng);
    cases.push_back(std::move(c));
  }
  const std::vector<SampleResult> together = SampleRows(cases).Sample();
  CheckRows(cases, Expected(cases), together);
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::vector<SampleCase> alone = {cases[i]};
    CHECK(Same(SampleRows(alone).Sample()[0], together[i]));
  }
  std::reverse(cases.begin(), cases.end());
  const std::vector<SampleResult> reversed = SampleRows(cases).Sample();
  for (size_t i = 0; i < cases.size(); ++i) {
    CHECK(Same(reversed[i], together[cases.size() - 1 - i]));
  }
}

TEST_CASE("large vocabularies") {
  SetExactFloatMode();
  std::mt19937 rng(3);
  for (const int64_t vocab : {32000, 151936}) {
    std::vector<SampleCase> cases;
    struct Setting {
      double temperature, top_p, min_p;
      int32_t top_k;
    };
    for (const Setting& s : {Setting{0, 1, 0, 0}, Setting{1, 1, 0, 0}, Setting{0.8, 0.95, 0, 0},
                             Setting{0.7, 0.8, 0.01, 20}, Setting{1e6, 0.95, 0, 0},
                             Setting{30, 0.5, 0, 9000}, Setting{5, 1, 0.3, 0}}) {
      SampleCase c{.logits = RandomLogits(rng, vocab)};
      c.params.temperature = s.temperature;
      c.params.top_p = s.top_p;
      c.params.min_p = s.min_p;
      c.params.top_k = s.top_k;
      c.params.seed = rng();
      c.position = 1000;
      if (s.min_p > 0) Adjust(&c, rng);
      cases.push_back(std::move(c));
    }
    const std::vector<SampleResult> want = Expected(cases);
    CheckRows(cases, want, SampleRows(cases).Sample());
  }
}

// More candidates at the edge than can be sorted at once.
TEST_CASE("vocabularies of equal or nearly equal logits") {
  SetExactFloatMode();
  std::mt19937 rng(4);
  const int64_t vocab = 9000;
  std::vector<std::vector<float>> kinds;
  kinds.emplace_back(vocab, 1.5f);  // all equal
  kinds.emplace_back(vocab, -0.0f);
  for (int64_t i = 0; i < vocab; i += 2) kinds[1][i] = 0.0f;  // equal too
  kinds.emplace_back(vocab, 2.0f);
  for (float& x : kinds[2]) x = std::nextafter(x, rng() % 2 ? 3.0f : 1.0f);
  kinds[2][5000] = -1e4f;  // most share one step
  kinds.emplace_back(RandomLogits(rng, vocab));
  for (float& x : kinds[3]) x *= 1e30f;
  kinds.emplace_back(vocab, -70.0f);  // two heaps, the edge in the far one
  for (int i = 0; i < 100; ++i) kinds[4][rng() % vocab] = 1.0f;
  for (size_t kind = 0; kind < kinds.size(); ++kind) {
    std::vector<SampleCase> cases;
    for (const int32_t top_k : {0, 3000, 5000}) {
      for (const double top_p : {1.0, 0.6}) {
        if (top_k == 0 && top_p == 1.0) continue;
        SampleCase c{.logits = kinds[kind]};
        c.params.temperature = kind == 4 ? 1e3 : 1.1;
        c.params.top_k = top_k;
        c.params.top_p = top_p;
        c.params.seed = rng();
        cases.push_back(std::move(c));
      }
    }
    INFO("kind " << kind);
    CheckAll(cases);
  }
}

TEST_CASE("broken and missing logits, ties and bans") {
  SetExactFloatMode();
  std::vector<SampleCase> cases;
  const std::vector<std::vector<float>> rows = {{5, 4, 3, 2, 1},
                                                {NAN, 1, NAN, 2, 3},
                                                {1, kInf, -kInf, 0, 0},
                                                {NAN, NAN, -kInf, 3, 2},
                                                {-kInf, -kInf, -1e30f, -kInf, -kInf},
                                                {NAN, NAN, NAN, NAN, NAN},
                                                {-kInf, -kInf, -kInf, -kInf, -kInf},
                                                {3, 3, 3, 3, 3},
                                                {-0.0f, 0.0f, -0.0f, 0.0f, -1.0f},
                                                {3e38f, -3e38f, 3e38f, 1, 0},
                                                {1e-40f, -1e-40f, 0, 1e-45f, -1e-38f}};
  for (const auto& logits : rows) {
    for (const double t : {0.0, 1e-5, 1.0, 1e6}) {
      for (const double top_p : {1.0, 0.5, 5e-324}) {
        for (const int32_t top_k : {0, 2}) {
          for (const std::vector<int32_t>& banned :
               std::vector<std::vector<int32_t>>{{}, {0, 3}, {4, 3, 2, 1, 0}, {7, -1}}) {
            SampleCase c{.logits = logits, .banned = banned, .position = 3};
            c.params.temperature = t;
            c.params.top_p = top_p;
            c.params.top_k = top_k;
            c.params.seed = cases.size();
            cases.push_back(std::move(c));
          }
        }
      }
    }
  }
  const std::vector<SampleResult> want = Expected(cases);
  CHECK(std::any_of(want.begin(), want.end(), [](const auto& r) { return r.invalid_logits; }));
  CheckRows(cases, want, SampleRows(cases).Sample());
}

TEST_CASE("edges of the filters") {
  SetExactFloatMode();
  std::mt19937 rng(6);
  std::vector<SampleCase> cases;
  const std::vector<float> logits = RandomLogits(rng, 500);
  const double below_one = std::nextafter(1.0, 0.0);
  for (const double top_p : {1.0, below_one, 0.5, 1e-300, 1e-310, 0.0}) {
    for (const double min_p : {0.0, 1.0, below_one, 1e-9, 1e-300, 1e-310}) {
      for (const int32_t top_k : {0, 499, 500, 501, std::numeric_limits<int32_t>::max()}) {
        SampleCase c{.logits = logits};
        c.params.temperature = 2.0;
        c.params.top_p = top_p;
        c.params.min_p = min_p;
        c.params.top_k = top_k;
        c.params.seed = rng();
        cases.push_back(std::move(c));
      }
    }
  }
  // Of four equal ones exactly two reach a half, and three anything above.
  for (const double top_p : {0.5, std::nextafter(0.5, 1.0), 0.75, 0.2}) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      SampleCase c{.logits = std::vector<float>(500, -1e3f)};
      for (const int id : {7, 100, 101, 499}) c.logits[id] = 3.0f;
      c.params.temperature = 1.0;
      c.params.top_p = top_p;
      c.params.seed = seed;
      cases.push_back(std::move(c));
    }
  }
  CheckRows(cases, Expected(cases), SampleRows(cases).Sample());
}

TEST_CASE("penalties do not make a finite logit infinite, nor hide a broken one") {
  SetExactFloatMode();
  std::vector<SampleCase> cases;
  for (const float first : {1e38f, -1e38f, NAN, kInf, -kInf, 0.0f}) {
    for (const double t : {0.0, 1.0}) {
      for (const double repetition : {1e-3, 1e3}) {
        SampleCase c{.logits = {first, 1.0f, 2.0f}, .prompt = {0}, .output = {2, 2}};
        c.params.temperature = t;
        c.params.repetition_penalty = repetition;
        c.params.frequency_penalty = 2.0;
        if (t > 0) c.params.logit_bias = {{0, 1.0}, {1, -100.0}};
        cases.push_back(std::move(c));
      }
    }
  }
  CheckAll(cases);
}

TEST_CASE("what cannot be sampled is refused") {
  CHECK(Sample({.rows = 0, .vocab = 10}, nullptr) == cudaSuccess);
  CHECK(Sample({.rows = 1, .vocab = 0}, nullptr) == cudaErrorInvalidValue);
  CHECK(Sample({.rows = -1, .vocab = 10}, nullptr) == cudaErrorInvalidValue);
  CHECK(Sample({.rows = 65536, .vocab = 10}, nullptr) == cudaErrorInvalidValue);
  CHECK(Sample({.rows = 1, .vocab = kMaxSamplingVocab + 1}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace lynx::cuda
