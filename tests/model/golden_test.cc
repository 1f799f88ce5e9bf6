// Real models against Hugging Face transformers in float32 (tests/data/transformers, made by
// tests/tools/make_transformers_goldens.py), and what the KV code costs them.
//
// Both sides compute with the same BF16 weights, so what differs is that the engine rounds
// activations, K and V to BF16. Thresholds: see each.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/model/engine_runs.h"

namespace lynx {
namespace {

using nlohmann::json;

const std::string kSmol = "smollm2-135m-instruct.gguf";
const std::string kQwen = "qwen2.5-coder-0.5b-instruct.gguf";

const LoadedModel& Model(const std::string& file) {
  static std::map<std::string, LoadedModel> models;
  auto found = models.find(file);
  if (found == models.end()) {
    found = models.emplace(file, LoadForTest(LYNX_SOURCE_DIR "/models/" + file)).first;
  }
  return found->second;
}

json Goldens(const std::string& name) {
  std::ifstream file(LYNX_TEST_DATA "/transformers/" + name);
  REQUIRE(file);
  return json::parse(file);
}

double LogSumExp(const std::vector<float>& logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float x : logits) sum += std::exp(x - max);
  return max + std::log(sum);
}

// KL(P || Q) with P known by its largest logits: these one by one, all others as one outcome. A
// lower bound of the whole divergence.
double KlOfTop(const json& golden, const std::vector<float>& logits) {
  const double ours = LogSumExp(logits);
  double kl = 0, p_rest = 1, q_rest = 1;
  for (size_t i = 0; i < golden["ids"].size(); ++i) {
    const double log_p = golden["logits"][i].get<double>() - golden["logsumexp"].get<double>();
    const double log_q = logits[golden["ids"][i].get<size_t>()] - ours;
    kl += std::exp(log_p) * (log_p - log_q);
    p_rest -= std::exp(log_p);
    q_rest -= std::exp(log_q);
  }
  if (p_rest > 1e-6 && q_rest > 1e-6) kl += p_rest * std::log(p_rest / q_rest);
  return kl;
}

double Kl(const std::vector<float>& p, const std::vector<float>& q) {
  const double p_sum = LogSumExp(p), q_sum = LogSumExp(q);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    kl += std::exp(p[i] - p_sum) * ((p[i] - p_sum) - (q[i] - q_sum));
  }
  return kl;
}

struct Agreement {
  int rows = 0, same_top = 0, clear = 0, clear_same_top = 0;  // clear: first by more than kClear
  double kl = 0;                                              // mean
};
constexpr double kClear = 0.25;

Agreement CompareWithGoldens(const std::string& file, const std::string& golden_file) {
  const LoadedModel& model = Model(file);
  EngineRun run(model.config, model.weights, *SelectKernels(), 2);
  Agreement out;
  for (const json& prompt : Goldens(golden_file)) {
    const auto tokens = prompt["tokens"].get<std::vector<int32_t>>();
    const auto kv = run.Plain(std::ssize(tokens));
    for (int64_t begin = 0; begin < std::ssize(tokens); begin += 512) {
      const int64_t end = std::min<int64_t>(begin + 512, std::ssize(tokens));
      run.Run(std::span(tokens).subspan(begin, end - begin), begin, 512, kv.get(), KvView::kTarget,
              nullptr);
      for (const json& row : prompt["rows"]) {
        const int64_t position = row["position"].get<int64_t>();
        if (position < begin || position >= end) continue;
        LogitRows logits;
        run.TakeLogits(position - begin, position - begin + 1, &logits);
        const auto top = std::max_element(logits[0].begin(), logits[0].end()) - logits[0].begin();
        const bool same = top == row["ids"][0].get<int64_t>();
        const bool clear = row["logits"][0].get<double>() - row["logits"][1].get<double>() > kClear;
        out.kl += KlOfTop(row, logits[0]);
        ++out.rows;
        out.same_top += same;
        out.clear += clear;
        out.clear_same_top += clear && same;
      }
    }
  }
  out.kl /= out.rows;
  return out;
}

void CheckAgreement(const Agreement& a) {
  INFO("rows " << a.rows << ", same top " << a.same_top << ", clear " << a.clear
               << ", of these same " << a.clear_same_top << ", mean KL " << a.kl);
  CHECK(a.rows > 150);
  // BF16 activations move logits by some hundredths: only near ties may fall the other way.
  CHECK(a.clear_same_top == a.clear);
  CHECK(a.same_top >= 0.98 * a.rows);  // measured: 238 of 240, both models
  // Measured: 1.5e-4 (SmolLM2) and 2.0e-4 (Qwen2.5), what rounding activations to BF16 costs; other
  // processors get the same bits. A wrong angle or mask costs 1e-1 and more.
  CHECK(a.kl < 6e-4);
}

TEST_CASE("golden: SmolLM2-135M-Instruct agrees with transformers in float32") {
  CheckAgreement(CompareWithGoldens(kSmol, "smollm2.json"));
}

TEST_CASE("golden: Qwen2.5-Coder-0.5B-Instruct agrees with transformers in float32") {
  CheckAgreement(CompareWithGoldens(kQwen, "qwen2.5.json"));
}

// Mean divergences of the 32 tokens behind a coded prompt, teacher-forced.
TEST_CASE("golden: the KL that the KV code costs SmolLM2 stays in its measured range") {
  constexpr int64_t kForced = 32;
  const LoadedModel& model = Model(kSmol);
  EngineRun run(model.config, model.weights, *SelectKernels(), 2);
  double target_kl = 0, anchor_kl = 0;
  int rows = 0;
  for (const json& prompt : Goldens("smollm2.json")) {
    const auto tokens = prompt["tokens"].get<std::vector<int32_t>>();
    const int64_t pages = (std::ssize(tokens) - kForced) / kPageTokens;
    if (pages < 3) continue;
    const int64_t coded = pages * kPageTokens;
    const auto forced = std::span(tokens).subspan(coded, kForced);
    const auto plain = run.Plain(coded + kForced);
    run.Run(std::span(tokens).first(coded), 0, 512, plain.get(), KvView::kTarget, nullptr);
    const auto kv = run.Coded(plain.get(), pages, coded + kForced, {5, 4});
    LogitRows bf16, target, anchor;
    run.Run(forced, coded, kForced, plain.get(), KvView::kTarget, &bf16);
    run.Run(forced, coded, kForced, kv.get(), KvView::kTarget, &target);
    run.Run(forced, coded, kForced, kv.get(), KvView::kDraft, &anchor);
    for (int64_t i = 0; i < kForced; ++i, ++rows) {
      target_kl += Kl(bf16[i], target[i]);
      anchor_kl += Kl(target[i], anchor[i]);
    }
  }
  target_kl /= rows;
  anchor_kl /= rows;
  INFO(rows << " rows: KL(bf16 || int8) " << target_kl << ", KL(int8 || Anchor K5V4) "
            << anchor_kl);
  REQUIRE(rows >= 96);
  // In float32 the code costs these prompts 5.5e-5 (int8) and 4.2e-3 (Anchor), by
  // tests/tools/measure_code_kl.py. Here both sides round activations to BF16, each its own way
  // once the attention differs; that alone puts each 1.5e-4 from float32 (first test), so two up to
  // 3e-4 apart. Measured: 1.9e-4 and 4.7e-3.
  CHECK(target_kl < 4e-4);
  CHECK(target_kl > 0);
  CHECK(anchor_kl > 5e-4);  // the draft view is not the target view
  CHECK(anchor_kl < 1e-2);
}

}  // namespace
}  // namespace lynx
