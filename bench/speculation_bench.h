// `lynx bench speculation`: how many drafts the target accepts, and how many bits the KV moves,
// over real prompts. No link and no engines: the prompt is prefilled once, its KV is put into
// Anchor and target pages, and both are decoded side by side, which is what an engine's drafting
// and verification come to (tests/bench/speculation_test.cc holds them to that). So the figures
// depend on model, prompts and code alone, never on the machine's speed.
//
// A window is a chain of drafts right behind a prompt. Each prompt gives several: its text is
// continued by what the target has said, and this longer prompt's KV is coded anew.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/bench_prompts.h"
#include "bench/lossless_bytes.h"
#include "model/kv_sequence.h"
#include "model/loader.h"
#include "runtime/status.h"

namespace lynx::bench {

struct SpeculationOptions {
  std::vector<KvSplit> splits = {{5, 4}, {4, 4}};
  std::vector<double> temperatures = {0, 0.7};
  std::vector<int64_t> windows = {21, 32, 64};  // drafts, ascending
  int windows_per_prompt = 4;                   // at most: a text that ends gives no more
  int threads = 1;
};

// A mean over prompts and its standard error. Windows of one prompt are not independent, so the
// prompt's own mean counts once.
struct Estimate {
  double mean = 0;
  double error = 0;
};

struct AcceptanceRow {
  KvSplit split;
  double temperature = 0;
  int64_t drafted = 0;  // the window
  int64_t windows = 0;  // in all
  Estimate accepted;    // drafts
  Estimate whole;       // share of windows without a miss
};

// Drafts up to the first that is wrong, by the drafter's margin (Sampler's).
struct MarginRow {
  KvSplit split;
  double temperature = 0;
  double below = 0;  // margins from the row before up to this
  int64_t drafts = 0;
  int64_t wrong = 0;
};

struct SpeculationResult {
  int64_t prompts = 0;
  int64_t prompt_tokens = 0;  // in all
  int64_t shortest = 0;       // tokens
  int64_t longest = 0;
  std::vector<AcceptanceRow> acceptance;
  std::vector<MarginRow> margins;
  LosslessBytes lossless;
};

// INVALID_ARGUMENT: no prompts, or one that does not fit into the model's context.
absl::StatusOr<SpeculationResult> RunSpeculationBench(const SpeculationOptions& options,
                                                      const std::vector<BenchPrompt>& prompts,
                                                      const LoadedModel& model);

std::string FormatSpeculationBench(const SpeculationResult& result);
nlohmann::ordered_json SpeculationBenchJson(const SpeculationResult& result);

}  // namespace lynx::bench
