#include "bench/paper_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "cli/pair_request.h"
#include "cli/virtual_pair.h"

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

double P99(std::vector<double> values) {
  LYNX_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  return values[(values.size() * 99 + 99) / 100 - 1];
}

double Seconds(Nanos t) { return std::chrono::duration<double>(t).count(); }

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
          .second_token_committed_p99_s = P99(s.second),
          .token32_committed_s = Median(s.token32),
          .token64_committed_s = Median(s.token64),
          .drafted = Median(s.drafted),
          .accepted = Median(s.accepted),
          .anchor_bytes = Median(s.anchor_bytes),
          .residual_bytes = Median(s.residual_bytes)};
}

class Table {
 public:
  Table(const PaperTableOptions& options, const std::vector<TokenIds>& prompts,
        const LoadedModel& model, const Kernels& kernels)
      : options_(options), prompts_(prompts), model_(model), kernels_(kernels) {}

  // One run of one format: all its requests at once.
  absl::Status Run(const TransferFormat& format, int run, Samples* samples) const {
    const LocalPairOptions options =
        MakePairOptions({.target = format.target,
                         .split = options_.split,
                         .link_bits_per_s = options_.link_bits_per_s,
                         .prefill_threads = options_.prefill_threads,
                         .decode_threads = options_.decode_threads,
                         .residual_max_wait = options_.residual_max_wait});
    return options_.virtual_machines.has_value() ? RunVirtual(options, run, samples)
                                                 : RunReal(options, run, samples);
  }

 private:
  absl::Status RunReal(const LocalPairOptions& options, int run, Samples* samples) const {
    ASSIGN_OR_RETURN(const std::unique_ptr<LocalPair> pair,
                     LocalPair::Start(options, model_, kernels_));
    // Opens the connections and shows the sender the link's rate, as in a server that has run.
    RETURN_IF_ERROR(pair->Generate(WarmUp()).collected.status);
    std::vector<std::shared_ptr<LocalPair::Pending>> pending;
    for (int i = 0; i < options_.concurrency; ++i) pending.push_back(pair->Submit(Request(run, i)));
    absl::Status status;
    for (const auto& p : pending) status.Update(AddSample(pair->Wait(p), samples));
    return status;
  }

  absl::Status RunVirtual(const LocalPairOptions& real, int run, Samples* samples) const {
    constexpr int64_t kChunkTokens = 64;
    const VirtualMachines& machines = *options_.virtual_machines;
    VirtualPairOptions options{.prefill = real.prefill,
                               .decode = real.decode,
                               .link = {},
                               .send_queue = real.send_queue,
                               .prefill_step = Nanos(0),
                               .decode_step = machines.decode_step};
    options.prefill.chunk_tokens = kChunkTokens;
    options.prefill_token =
        Nanos(static_cast<int64_t>(std::llround(1e9 / machines.prefill_tokens_per_s)));
    options.link.bytes_per_s = std::exchange(options.send_queue.rate_limit_bytes_per_s, 0);
    options.send_queue.rate_burst = Nanos(0);
    ThreadPool threads(options_.prefill_threads);
    VirtualPair pair(options, model_, kernels_, threads);
    pair.Submit(WarmUp());
    RETURN_IF_ERROR(pair.Run());
    std::vector<const TimedResult*> results;
    for (int i = 0; i < options_.concurrency; ++i) {
      results.push_back(&pair.SubmitTimed(Request(run, i)));
    }
    RETURN_IF_ERROR(pair.Run());
    for (const TimedResult* result : results) RETURN_IF_ERROR(AddSample(*result, samples));
    return absl::OkStatus();
  }

  v1::GenerateRequest WarmUp() const {
    TokenIds prompt = prompts_[0];
    prompt.resize(std::min<size_t>(prompt.size(), kPageTokens + 1));
    return Request(prompt, 4);
  }
  v1::GenerateRequest Request(int run, int i) const {
    const size_t index = static_cast<size_t>(run) * options_.concurrency + i;
    v1::GenerateRequest request =
        Request(prompts_[index % prompts_.size()], options_.generated_tokens);
    request.set_emission(v1::EMISSION_SPECULATIVE);  // so that drafts' times are told
    return request;
  }
  static v1::GenerateRequest Request(const TokenIds& prompt, int64_t max_tokens) {
    return MakePairRequest(prompt, max_tokens, SamplingParams{}, /*ignore_eos=*/true);
  }

  const PaperTableOptions& options_;
  const std::vector<TokenIds>& prompts_;
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

std::vector<TokenIds> CutPrompts(const TokenIds& text, int64_t prompt_tokens, int count) {
  std::vector<TokenIds> prompts(text.empty() ? 0 : count);
  size_t next = 0;
  for (TokenIds& prompt : prompts) {
    for (int64_t i = 0; i < prompt_tokens; ++i) prompt.push_back(text[next++ % text.size()]);
  }
  return prompts;
}

absl::StatusOr<std::vector<PaperRow>> RunPaperTable(const PaperTableOptions& options,
                                                    const std::vector<TokenIds>& prompts,
                                                    const LoadedModel& model) {
  if (prompts.empty()) return absl::InvalidArgumentError("there is no prompt to measure with");
  if (options.generated_tokens < 64) {
    return absl::InvalidArgumentError("at least 64 tokens must be generated");
  }
  const Kernels* kernels = SelectKernels();
  if (kernels == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  const Table table(options, prompts, model, *kernels);
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
  absl::StrAppendFormat(&text, "%-6s %9s %9s %9s %9s %9s %9s %8s %8s %11s %11s\n", "format", "1st",
                        "2nd prov.", "2nd comm.", "its p99", "32nd", "64th", "drafted", "accepted",
                        "anchor B", "residual B");
  for (const PaperRow& r : rows) {
    absl::StrAppendFormat(
        &text, "%-6s %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %8.1f %8.1f %11.0f %11.0f\n", r.format,
        r.first_token_s, r.second_token_provisional_s, r.second_token_committed_s,
        r.second_token_committed_p99_s, r.token32_committed_s, r.token64_committed_s, r.drafted,
        r.accepted, r.anchor_bytes, r.residual_bytes);
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
