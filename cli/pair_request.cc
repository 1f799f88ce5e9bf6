#include "cli/pair_request.h"

namespace lynx {
namespace {

// A command's requests are known and few: the machine's memory is their only budget.
constexpr size_t kKvBudgetBytes = size_t{1} << 42;

}  // namespace

LocalPairOptions MakePairOptions(const PairSettings& settings) {
  LocalPairOptions options;
  options.prefill_threads = settings.prefill_threads;
  options.decode_threads = settings.decode_threads;
  options.prefill.target = settings.target;
  options.prefill.chunk_tokens = settings.chunk_tokens;
  options.prefill.kv_budget_bytes = kKvBudgetBytes;
  options.decode.target = settings.target;
  options.decode.split = settings.split;
  options.decode.max_draft_tokens = settings.max_draft_tokens;
  options.decode.kv_budget_bytes = kKvBudgetBytes;
  options.send_queue.rate_limit_bytes_per_s = static_cast<uint64_t>(settings.link_bits_per_s / 8);
  options.send_queue.residual_max_wait = settings.residual_max_wait;
  return options;
}

v1::GenerateRequest MakePairRequest(const std::vector<int32_t>& prompt, int64_t max_tokens,
                                    const SamplingParams& sampling, bool ignore_eos) {
  v1::GenerateRequest request;
  request.mutable_prompt()->Add(prompt.begin(), prompt.end());
  request.set_max_tokens(max_tokens);
  request.set_ignore_eos(ignore_eos);
  request.set_logprobs(-1);
  request.set_prompt_logprobs(-1);
  v1::Sampling& to = *request.mutable_sampling();
  to.set_temperature(sampling.temperature);
  to.set_top_p(sampling.top_p);
  to.set_top_k(sampling.top_k);
  to.set_min_p(sampling.min_p);
  to.set_repetition_penalty(sampling.repetition_penalty);
  to.set_presence_penalty(sampling.presence_penalty);
  to.set_frequency_penalty(sampling.frequency_penalty);
  for (const auto& [id, addend] : sampling.logit_bias) (*to.mutable_logit_bias())[id] = addend;
  to.set_seed(sampling.seed);
  return request;
}

}  // namespace lynx
