// Options and requests of a LocalPair from the few figures that commands and benches vary.
#pragma once

#include <cstdint>
#include <vector>

#include "cli/local_pair.h"
#include "model/sampling_params.h"

namespace lynx {

struct PairSettings {
  KvTarget target = KvTarget::kInt8;
  KvSplit split;
  double link_bits_per_s = 0;  // 0: no limit
  int prefill_threads = 1;
  int decode_threads = 1;
  int64_t chunk_tokens = 512;
  int64_t max_draft_tokens = 64;
  Nanos residual_max_wait = SendQueueOptions().residual_max_wait;
};

LocalPairOptions MakePairOptions(const PairSettings& settings);

v1::GenerateRequest MakePairRequest(const std::vector<int32_t>& prompt, int64_t max_tokens,
                                    const SamplingParams& sampling, bool ignore_eos);

}  // namespace lynx
