// `lynx bench engine`: prefill and decode tokens a second as llama-bench counts them (pp and tg),
// by the model's own passes: no tokenizer, no sampling but the largest logit, no transfer.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "model/kv_sequence.h"
#include "model/loader.h"
#include "runtime/status.h"

namespace lynx::bench {

struct EngineBenchOptions {
  int threads = 1;
  int64_t prompt_tokens = 512;     // of pp; 0: not measured
  int64_t generated_tokens = 128;  // of tg; 0: not measured
  int64_t depth = 0;               // tokens that are in the KV cache before either begins
  int64_t chunk_tokens = 512;
  KvTarget target = KvTarget::kInt8;  // how tg holds those
  KvSplit split;
  int repetitions = 5;  // after one that warms up
};

// Means over the repetitions, with the standard deviation.
struct EngineBenchResult {
  EngineBenchOptions options;
  double pp_tokens_per_s = 0;
  double pp_deviation = 0;
  double tg_tokens_per_s = 0;
  double tg_deviation = 0;
};

// INVALID_ARGUMENT: what is asked for exceeds the model's context.
absl::StatusOr<EngineBenchResult> RunEngineBench(const EngineBenchOptions& options,
                                                 const LoadedModel& model);

std::string FormatEngineBench(const EngineBenchResult& result, const ModelConfig& config);
nlohmann::ordered_json EngineBenchJson(const EngineBenchResult& result);

}  // namespace lynx::bench
