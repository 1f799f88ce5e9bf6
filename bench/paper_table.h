// `lynx bench transfer`: the paper's table. One prompt (or several at once) is prefilled by one
// engine, its KV crosses a link in each of several formats, and the other engine generates; when
// each token is known is what is compared.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/kv_sequence.h"
#include "model/loader.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/send_queue.h"

namespace lynx::bench {

struct TransferFormat {
  std::string name;  // "bf16", "int8", "int4": in one piece; "lynx": Anchor and Residual
  KvTarget target = KvTarget::kInt8;
};

// `lynx_target`: what "lynx" ends in, int8 or bf16. INVALID_ARGUMENT: an unknown name.
absl::StatusOr<std::vector<TransferFormat>> ParseFormats(const std::vector<std::string>& names,
                                                         KvTarget lynx_target);

// Two machines that are not at hand, on virtual time: the tokens are real, their times follow from
// these rates and the link alone, the same in every run.
struct VirtualMachines {
  double prefill_tokens_per_s = 0;
  Nanos decode_step{0};  // any pass: drafting, verification, decoding
};

struct PaperTableOptions {
  std::vector<TransferFormat> formats;
  KvSplit split;
  double link_bits_per_s = 0;     // 0: as fast as loopback
  int64_t prompt_tokens = 2048;   // for the report: of each prompt, or at most
  int64_t generated_tokens = 64;  // at least 64, the last one that the table names
  int concurrency = 1;            // requests at once, each with its own prompt
  int runs = 3;
  int prefill_threads = 1;
  int decode_threads = 1;
  Nanos residual_max_wait = SendQueueOptions().residual_max_wait;
  std::optional<VirtualMachines> virtual_machines;
};

// Over all requests of all runs: medians, but for what is named p99 (nearest rank).
struct PaperRow {
  std::string format;
  double first_token_s = 0;
  double second_token_provisional_s = 0;
  double second_token_committed_s = 0;
  double second_token_committed_p99_s = 0;
  double token32_committed_s = 0;
  double token64_committed_s = 0;
  double drafted = 0;
  double accepted = 0;
  double anchor_bytes = 0;
  double residual_bytes = 0;  // the Tail's with it
};

using TokenIds = std::vector<int32_t>;

// `count` prompts one after another from `text`, which is repeated if it is too short.
std::vector<TokenIds> CutPrompts(const TokenIds& text, int64_t prompt_tokens, int count);

// Each request of each run has a prompt of its own, as long as there are enough. Every format gets
// the same, in turn within each run, so that a slow moment of the machine hits all of them.
absl::StatusOr<std::vector<PaperRow>> RunPaperTable(const PaperTableOptions& options,
                                                    const std::vector<TokenIds>& prompts,
                                                    const LoadedModel& model);

std::string FormatPaperTable(const PaperTableOptions& options, const std::vector<PaperRow>& rows);
nlohmann::ordered_json PaperTableJson(const PaperTableOptions& options,
                                      const std::vector<PaperRow>& rows);

}  // namespace lynx::bench
