#include <algorithm>

#include "absl/strings/str_format.h"
#include "bench/speculation_bench.h"

namespace lynx::bench {
namespace {

std::string SplitName(KvSplit split) { return absl::StrCat("K", split.k_bits, "V", split.v_bits); }

}  // namespace

std::string FormatSpeculationBench(const SpeculationResult& result) {
  std::string text = absl::StrFormat("%d prompts of %d to %d tokens, %d in all\n", result.prompts,
                                     result.shortest, result.longest, result.prompt_tokens);
  absl::StrAppendFormat(&text, "%-6s %5s %8s %8s %18s %8s %16s\n", "split", "T", "drafted",
                        "windows", "accepted", "%", "whole %");
  for (const AcceptanceRow& r : result.acceptance) {
    absl::StrAppendFormat(&text, "%-6s %5.2f %8d %8d %10.2f +- %4.2f %8.1f %9.1f +- %3.1f\n",
                          SplitName(r.split), r.temperature, r.drafted, r.windows, r.accepted.mean,
                          r.accepted.error, 100 * r.accepted.mean / static_cast<double>(r.drafted),
                          100 * r.whole.mean, 100 * r.whole.error);
  }
  absl::StrAppendFormat(&text, "%-6s %5s %8s %8s %8s %8s\n", "split", "T", "margin<", "drafts",
                        "wrong", "%");
  for (const MarginRow& r : result.margins) {
    absl::StrAppendFormat(
        &text, "%-6s %5.2f %8.2f %8d %8d %8.2f\n", SplitName(r.split), r.temperature, r.below,
        r.drafts, r.wrong,
        100.0 * static_cast<double>(r.wrong) / static_cast<double>(std::max<int64_t>(1, r.drafts)));
  }
  const LosslessBytes& b = result.lossless;
  absl::StrAppendFormat(&text, "bf16 target: %.3f bits a value (code %d B, Tail %d B, BF16 %d B)\n",
                        b.bits_per_value(), b.code, b.tail, b.bf16);
  return text;
}

nlohmann::ordered_json SpeculationBenchJson(const SpeculationResult& result) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const AcceptanceRow& r : result.acceptance) {
    rows.push_back({{"split", SplitName(r.split)},
                    {"temperature", r.temperature},
                    {"drafted", r.drafted},
                    {"windows", r.windows},
                    {"accepted", r.accepted.mean},
                    {"accepted_error", r.accepted.error},
                    {"whole", r.whole.mean},
                    {"whole_error", r.whole.error}});
  }
  return {{"prompts", result.prompts},
          {"prompt_tokens", result.prompt_tokens},
          {"rows", std::move(rows)},
          {"lossless_bits_per_value", result.lossless.bits_per_value()}};
}

}  // namespace lynx::bench
