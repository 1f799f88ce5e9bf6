#include "bench/paper_table.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "cli/pair_request.h"

namespace lynx::bench {
namespace {

struct Samples {
  std::vector<double> first, second_provisional, second, token32, token64;
  std::vector<double> drafted, accepted, anchor_bytes, residual_bytes;
};

double Median(std::vector<double> values) {
  LYNX_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double Seconds(Nanos t) { return std::chrono::duration<double>(t).count(); }

std::vector<int32_t> CutPrompt(const std::vector<int32_t>& text, int64_t index, int64_t tokens) {
  std::vector<int32_t> prompt;
  const auto size = static_cast<int64_t>(text.size());
  const int64_t begin = index * tokens;
  for (int64_t i = begin; i < begin + tokens; ++i) prompt.push_back(text[i % size]);
  return prompt;
}

absl::Status AddSample(const TimedResult& timed, Samples* to) {
  RETURN_IF_ERROR(timed.collected.status);
  const v1::GenerateStats& stats = timed.collected.finished.stats();
  to->first.push_back(Seconds(timed.committed_at[0]));
  to->second_provisional.push_back(Seconds(*timed.second_known_at));
  to->second.push_back(Seconds(timed.committed_at[1]));
  to->token32.push_back(Seconds(timed.committed_at[31]));
  to->token64.push_back(Seconds(timed.committed_at[63]));
  to->drafted.push_back(static_cast<double>(stats.drafted()));
  to->accepted.push_back(static_cast<double>(stats.accepted()));
  to->anchor_bytes.push_back(static_cast<double>(stats.anchor_bytes()));
  to->residual_bytes.push_back(static_cast<double>(stats.residual_bytes() + stats.tail_bytes()));
  return absl::OkStatus();
}

PaperRow MakeRow(const std::string& format, const Samples& s) {
  return {.format = format,
          .first_token_s = Median(s.first),
          .second_token_provisional_s = Median(s.second_provisional),
          .second_token_committed_s = Median(s.second),
          .token32_committed_s = Median(s.token32),
          .token64_committed_s = Median(s.token64),
          .drafted = Median(s.drafted),
          .accepted = Median(s.accepted),
          .anchor_bytes = Median(s.anchor_bytes),
          .residual_bytes = Median(s.residual_bytes)};
}

class Table {
 public:
  Table(const PaperTableOptions& options, const std::vector<int32_t>& text,
        const LoadedModel& model, const Kernels& kernels)
      : options_(options), text_(text), model_(model), kernels_(kernels) {}

  // One run of one format: all its requests at once.
  absl::Status Run(const TransferFormat& format, int run, Samples* samples) const {
    ASSIGN_OR_RETURN(const std::unique_ptr<LocalPair> pair,
                     LocalPair::Start(MakePairOptions({.target = format.target,
                                                       .split = options_.split,
                                                       .link_bits_per_s = options_.link_bits_per_s,
                                                       .prefill_threads = options_.prefill_threads,
                                                       .decode_threads = options_.decode_threads}),
                                      model_, kernels_));
    // Opens the connections and shows the sender the link's rate, as in a server that has run.
    RETURN_IF_ERROR(
        pair->Generate(Request(CutPrompt(text_, 0, kPageTokens + 1), 4)).collected.status);
    std::vector<std::shared_ptr<LocalPair::Pending>> pending;
    for (int i = 0; i < options_.concurrency; ++i) {
      const int64_t index = int64_t{run} * options_.concurrency + i;
      pending.push_back(pair->Submit(
          Request(CutPrompt(text_, index, options_.prompt_tokens), options_.generated_tokens)));
    }
    absl::Status status;
    for (const auto& p : pending) status.Update(AddSample(pair->Wait(p), samples));
    return status;
  }

 private:
  static v1::GenerateRequest Request(const std::vector<int32_t>& prompt, int64_t max_tokens) {
    return MakePairRequest(prompt, max_tokens, SamplingParams{}, /*ignore_eos=*/true);
  }

  const PaperTableOptions& options_;
  const std::vector<int32_t>& text_;
  const LoadedModel& model_;
  const Kernels& kernels_;
};

}  // namespace

absl::StatusOr<std::vector<TransferFormat>> ParseFormats(const std::vector<std::string>& names,
                                                         KvTarget lynx_target) {
  const TransferFormat known[] = {{"bf16", KvTarget::kBf16Whole},
                                  {"int8", KvTarget::kInt8Whole},
                                  {"int4", KvTarget::kInt4Whole},
                                  {"lynx", lynx_target}};
  std::vector<TransferFormat> formats;
  for (const std::string& name : names) {
    const auto* it = std::find_if(std::begin(known), std::end(known),
                                  [&](const TransferFormat& f) { return f.name == name; });
    if (it == std::end(known)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", name, "\" is no format: bf16, int8, int4 and lynx are"));
    }
    formats.push_back(*it);
  }
  if (formats.empty()) return absl::InvalidArgumentError("no format was named");
  return formats;
}

absl::StatusOr<std::vector<PaperRow>> RunPaperTable(const PaperTableOptions& options,
                                                    const std::vector<int32_t>& text,
                                                    const LoadedModel& model) {
  if (text.empty()) return absl::InvalidArgumentError("the prompts' text is empty");
  if (options.generated_tokens < 64) {
    return absl::InvalidArgumentError("at least 64 tokens must be generated");
  }
  const Kernels* kernels = SelectKernels();
  if (kernels == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  const Table table(options, text, model, *kernels);
  std::vector<Samples> samples(options.formats.size());
  for (int run = 0; run < options.runs; ++run) {
    for (size_t f = 0; f < options.formats.size(); ++f) {
      RETURN_IF_ERROR(table.Run(options.formats[f], run, &samples[f]));
    }
  }
  std::vector<PaperRow> rows;
  for (size_t f = 0; f < samples.size(); ++f) {
    rows.push_back(MakeRow(options.formats[f].name, samples[f]));
  }
  return rows;
}

std::string FormatPaperTable(const PaperTableOptions& options, const std::vector<PaperRow>& rows) {
  std::string text = absl::StrFormat(
      "prompt %d tokens, link %s, %d request(s) at once, K%dV%d, median of %d run(s); seconds\n",
      options.prompt_tokens,
      options.link_bits_per_s > 0 ? absl::StrFormat("%g Mbit/s", options.link_bits_per_s / 1e6)
                                  : "loopback",
      options.concurrency, options.split.k_bits, options.split.v_bits, options.runs);
  absl::StrAppendFormat(&text, "%-6s %9s %9s %9s %9s %9s %8s %8s %11s %11s\n", "format", "1st",
                        "2nd prov.", "2nd comm.", "32nd", "64th", "drafted", "accepted", "anchor B",
                        "residual B");
  for (const PaperRow& r : rows) {
    absl::StrAppendFormat(&text, "%-6s %9.3f %9.3f %9.3f %9.3f %9.3f %8.1f %8.1f %11.0f %11.0f\n",
                          r.format, r.first_token_s, r.second_token_provisional_s,
                          r.second_token_committed_s, r.token32_committed_s, r.token64_committed_s,
                          r.drafted, r.accepted, r.anchor_bytes, r.residual_bytes);
  }
  return text;
}

nlohmann::ordered_json PaperTableJson(const PaperTableOptions& options,
                                      const std::vector<PaperRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const PaperRow& r : rows) {
    list.push_back({{"format", r.format},
                    {"prompt_tokens", options.prompt_tokens},
                    {"link_bps", options.link_bits_per_s},
                    {"concurrency", options.concurrency},
                    {"first_token_s", r.first_token_s},
                    {"second_token_provisional_s", r.second_token_provisional_s},
                    {"second_token_committed_s", r.second_token_committed_s},
                    {"token32_committed_s", r.token32_committed_s},
                    {"token64_committed_s", r.token64_committed_s},
                    {"drafted", r.drafted},
                    {"accepted", r.accepted},
                    {"anchor_bytes", r.anchor_bytes},
                    {"residual_bytes", r.residual_bytes}});
  }
  nlohmann::ordered_json json;
  json["rows"] = std::move(list);
  return json;
}

}  // namespace lynx::bench
