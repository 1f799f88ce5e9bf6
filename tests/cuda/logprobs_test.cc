// Log-probabilities on the device: the CPU's ComputeLogprobs is the oracle, and every bit is
// compared. (Its own oracle, in long doubles, is tests/model/sampling_logprobs_test.cc.)
#include "kernels/cuda/logprobs.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/sampling_inl.h"
#include "model/sampling_logprobs.h"
#include "runtime/cpu.h"
#include "tests/cuda/device_array.h"
#include "tests/cuda/schedules.h"

namespace lynx::cuda {
namespace {

using testing::DeviceArray;
using testing::ForEachSchedule;

constexpr float kInf = std::numeric_limits<float>::infinity();

struct LogprobCase {
  std::vector<float> logits;
  int32_t id = 0;
  int32_t top = 0;       // -1: nothing is wanted
  bool sampled = false;  // the id comes from LogprobParams::ids

  Logprobs Expected() const {
    return ComputeLogprobs(logits.data(), std::ssize(logits), id, std::max(top, 0));
  }
};

bool SameBits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

bool Same(const Logprobs& a, const Logprobs& b) {
  if (!SameBits(a.logprob, b.logprob) || a.top.size() != b.top.size()) return false;
  for (size_t i = 0; i < a.top.size(); ++i) {
    if (a.top[i].id != b.top[i].id || !SameBits(a.top[i].logprob, b.top[i].logprob)) return false;
  }
  return true;
}

// One call over all rows, with poisoned results and scratch. Rows of which nothing is wanted have
// no result, and their places stay untouched.
std::vector<Logprobs> Compute(const std::vector<LogprobCase>& cases) {
  std::vector<float> logits;
  std::vector<LogprobRow> requests;
  std::vector<int32_t> ids;
  int32_t top = 0, top_max = 0;
  for (const LogprobCase& c : cases) {
    logits.insert(logits.end(), c.logits.begin(), c.logits.end());
    requests.push_back({c.sampled ? -1 : c.id, c.top, top});
    ids.push_back(c.sampled ? c.id : -7);
    top += std::max(c.top, 0);
    top_max = std::max(top_max, c.top);
  }
  const int64_t rows = std::ssize(cases), vocab = std::ssize(cases[0].logits);
  const auto device_logits = testing::OnDevice(logits);
  const auto device_requests = testing::OnDevice(requests);
  const auto device_ids = testing::OnDevice(ids);
  DeviceArray<double> logprobs(rows);
  DeviceArray<int32_t> counts(rows);
  DeviceArray<TopLogprobEntry> tops(top);
  DeviceArray<std::byte> scratch(static_cast<int64_t>(LogprobScratchBytes(rows, vocab)), 128);
  REQUIRE(RowLogprobs({.logits = device_logits.data(),
                       .requests = device_requests.data(),
                       .ids = device_ids.data(),
                       .logprobs = logprobs.data(),
                       .top_counts = counts.data(),
                       .top = tops.data(),
                       .scratch = scratch.data(),
                       .rows = rows,
                       .vocab = vocab,
                       .top_max = top_max},
                      nullptr) == cudaSuccess);
  scratch.Read();  // its margins are whole
  const auto host_logprobs = logprobs.Read();
  const auto host_counts = counts.Read();
  const auto host_tops = tops.Read();
  std::vector<Logprobs> out(cases.size());
  for (size_t row = 0; row < cases.size(); ++row) {
    if (cases[row].top < 0) {
      CHECK(DeviceArray<double>::IsFill(host_logprobs[row]));
      CHECK(DeviceArray<int32_t>::IsFill(host_counts[row]));
      continue;
    }
    out[row].logprob = host_logprobs[row];
    REQUIRE((host_counts[row] >= 0 && host_counts[row] <= cases[row].top));
    for (int32_t i = 0; i < cases[row].top; ++i) {
      const TopLogprobEntry& entry = host_tops[requests[row].top_begin + i];
      if (i < host_counts[row]) {
        out[row].top.push_back({entry.id, entry.logprob});
      } else {
        CHECK(DeviceArray<TopLogprobEntry>::IsFill(entry));
      }
    }
  }
  return out;
}

void CheckRows(const std::vector<LogprobCase>& cases, const std::vector<Logprobs>& got) {
  for (size_t row = 0; row < cases.size(); ++row) {
    if (cases[row].top < 0) continue;
    const Logprobs want = cases[row].Expected();
    if (Same(got[row], want)) continue;
    INFO("row " << row << " of " << cases.size() << ", vocabulary " << cases[row].logits.size()
                << ", id " << cases[row].id << ", top " << cases[row].top);
    CHECK(got[row].logprob == want.logprob);
    CHECK(got[row].top.size() == want.top.size());
    FAIL("a row differs");
  }
}

void CheckAll(const std::vector<LogprobCase>& cases) {
  ForEachSchedule([&] { CheckRows(cases, Compute(cases)); });
}

LogprobCase RandomCase(std::mt19937& rng, int64_t vocab, int32_t top) {
  std::normal_distribution<float> normal(-3.0f, 4.0f);
  LogprobCase c{.logits = std::vector<float>(static_cast<size_t>(vocab)), .top = top};
  for (float& x : c.logits) x = normal(rng);
  for (int i = 0; i < 20; ++i) c.logits[rng() % c.logits.size()] = c.logits[0];
  c.id = static_cast<int32_t>(rng() % c.logits.size());
  c.sampled = rng() % 2 == 0;
  return c;
}

TEST_CASE("log-probabilities of vocabularies of every kind of size") {
  SetExactFloatMode();
  std::mt19937 rng(31);
  for (const int64_t vocab : {1, 2, 31, 255, 257, 1000, 4095, 4096, 4097, 9001}) {
    std::vector<LogprobCase> cases;
    for (const int32_t top : {0, 1, -1, 2, 3, 20, 33}) cases.push_back(RandomCase(rng, vocab, top));
    CAPTURE(vocab);
    CheckAll(cases);
  }
}

TEST_CASE("long lists, more rows of them than the scratch has room for at once") {
  SetExactFloatMode();
  std::mt19937 rng(32);
  std::vector<LogprobCase> cases;
  for (const int32_t top : {1000, 1024, -1, 513, 5, 0}) {
    cases.push_back(RandomCase(rng, 10000, top));
  }
  cases.push_back(RandomCase(rng, 10000, 1024));
  for (size_t i = 0; i < 3000; ++i) cases.back().logits[i * 3] = 4.5f;  // ties across chunks
  CheckAll(cases);
}

TEST_CASE("a large vocabulary") {
  SetExactFloatMode();
  std::mt19937 rng(33);
  const std::vector<LogprobCase> cases = {RandomCase(rng, 151936, 20), RandomCase(rng, 151936, 0)};
  CheckRows(cases, Compute(cases));
}

TEST_CASE("log-probabilities of a row are its own, alone and in any batch") {
  SetExactFloatMode();
  std::mt19937 rng(34);
  std::vector<LogprobCase> cases;
  for (int i = 0; i < 9; ++i) cases.push_back(RandomCase(rng, 5000, i * 7 % 40));
  const std::vector<Logprobs> together = Compute(cases);
  CheckRows(cases, together);
  for (size_t i = 0; i < cases.size(); ++i) CHECK(Same(Compute({cases[i]})[0], together[i]));
}

TEST_CASE("log-probabilities of ties, infinities and broken logits") {
  SetExactFloatMode();
  const std::vector<std::vector<float>> rows = {{1, 7, 7, 7, 7},
                                                {-kInf, 0, -kInf, NAN, kInf},
                                                {-kInf, -kInf, -kInf, -kInf, -kInf},
                                                {NAN, NAN, kInf, NAN, NAN},
                                                {3e38f, -3e38f, 0, -0.0f, 1},
                                                {-0.0f, 0.0f, -0.0f, 0.0f, -1e-40f},
                                                {-1e30f, -1e30f, -kInf, -3e38f, NAN}};
  std::vector<LogprobCase> cases;
  for (const auto& logits : rows) {
    for (int32_t id = 0; id < 5; ++id) {
      for (const int32_t top : {0, 2, 5, 9}) cases.push_back({logits, id, top, id % 2 == 0});
    }
  }
  CheckAll(cases);
}

TEST_CASE("log-probabilities that cannot be computed are refused") {
  CHECK(RowLogprobs({.rows = 0, .vocab = 10}, nullptr) == cudaSuccess);
  CHECK(RowLogprobs({.rows = 1, .vocab = 0}, nullptr) == cudaErrorInvalidValue);
  CHECK(RowLogprobs({.rows = 65536, .vocab = 10}, nullptr) == cudaErrorInvalidValue);
  CHECK(RowLogprobs({.rows = 1, .vocab = kMaxSamplingVocab + 1}, nullptr) == cudaErrorInvalidValue);
  CHECK(RowLogprobs({.rows = 1, .vocab = 9, .top_max = kTopLogprobsMax + 1}, nullptr) ==
        cudaErrorInvalidValue);
}

}  // namespace
}  // namespace lynx::cuda
