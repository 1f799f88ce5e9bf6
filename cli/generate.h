// One request without a server: what `lynx generate` does, as a function.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/text_model.h"
#include "model/kv_sequence.h"
#include "model/loader.h"
#include "model/sampling_params.h"
#include "runtime/status.h"

namespace lynx {

struct GenerateOptions {
  // Plain decoding in one process instead of two engines with both streams between them.
  bool reference = false;
  KvTarget target = KvTarget::kInt8;
  KvSplit split;
  double link_bits_per_s = 0;  // 0: as fast as loopback
  int64_t max_tokens = 256;
  bool ignore_eos = false;
  SamplingParams sampling;
  int threads = 1;  // of each engine
  int64_t chunk_tokens = 512;
  int64_t max_draft_tokens = 64;
};

struct GenerateResult {
  std::vector<int32_t> tokens;
  std::string text;
  // Since the submission; nothing: there was no such token.
  std::optional<double> first_token_s;
  std::optional<double> second_token_provisional_s;
  std::optional<double> second_token_committed_s;
  double total_s = 0;
  int64_t drafted = 0;
  int64_t accepted = 0;
  int64_t rolled_back = 0;
  int64_t anchor_bytes = 0;
  int64_t residual_bytes = 0;
  int64_t tail_bytes = 0;
};

// Gets whole characters of committed text as they come; may be null. Any thread, one at a time.
using TextSink = std::function<void(std::string_view piece)>;

// INVALID_ARGUMENT: an empty prompt, or one that does not fit into the context with max_tokens.
absl::StatusOr<GenerateResult> Generate(const GenerateOptions& options,
                                        const std::vector<int32_t>& prompt,
                                        const LoadedModel& model, const TextModel& text_model,
                                        const TextSink& sink = nullptr);

// The contract's form; a time of a token that did not come is null.
nlohmann::ordered_json GenerateJson(const GenerateResult& result);

}  // namespace lynx
