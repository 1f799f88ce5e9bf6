#include "bench/speculation_bench.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>

#include "bench/draft_windows.h"
#include "model/cpu_kv_ops.h"
#include "model/cpu_transformer.h"
#include "runtime/cpu.h"

namespace lynx::bench {
namespace {

constexpr int64_t kChunkTokens = 512;
constexpr float kMarginBounds[] = {0.1f, 0.25f, 0.5f, 1, std::numeric_limits<float>::infinity()};

Estimate EstimateOf(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  Estimate e;
  for (double v : values) e.mean += v / n;
  for (double v : values) e.error += (v - e.mean) * (v - e.mean);
  e.error = values.size() > 1 ? std::sqrt(e.error / (n - 1) / n) : 0;
  return e;
}

double Mean(const std::vector<double>& values) { return EstimateOf(values).mean; }

// All windows of one split and one way of sampling.
class Tally {
 public:
  explicit Tally(const std::vector<int64_t>& windows) : windows_(windows), kept_(windows.size()) {}

  void Add(int prompt, int64_t length, const DraftedWindow& drafted) {
    for (size_t w = 0; w < windows_.size(); ++w) {
      if (windows_[w] > length) continue;  // the text was over before
      kept_[w][prompt].push_back(static_cast<double>(std::min(drafted.accepted, windows_[w])));
    }
    for (size_t i = 0; i < drafted.margins.size(); ++i) {
      const auto* bound =
          std::lower_bound(std::begin(kMarginBounds), std::end(kMarginBounds), drafted.margins[i]);
      MarginRow& row = margins_[bound - std::begin(kMarginBounds)];
      ++row.drafts;
      row.wrong += static_cast<int64_t>(i) == drafted.accepted ? 1 : 0;
    }
  }

  void Report(KvSplit split, double temperature, SpeculationResult* to) const {
    for (size_t w = 0; w < windows_.size(); ++w) {
      AcceptanceRow row;
      row.split = split;
      row.temperature = temperature;
      row.drafted = windows_[w];
      std::vector<double> accepted, whole;
      for (const auto& [prompt, counts] : kept_[w]) {
        row.windows += static_cast<int64_t>(counts.size());
        accepted.push_back(Mean(counts));
        const auto full = static_cast<double>(windows_[w]);
        whole.push_back(static_cast<double>(std::count(counts.begin(), counts.end(), full)) /
                        static_cast<double>(counts.size()));
      }
      row.accepted = EstimateOf(accepted);
      row.whole = EstimateOf(whole);
      to->acceptance.push_back(row);
    }
    for (size_t m = 0; m < std::size(kMarginBounds); ++m) {
      MarginRow row = margins_[m];
      row.split = split;
      row.temperature = temperature;
      row.below = kMarginBounds[m];
      to->margins.push_back(row);
    }
  }

 private:
  const std::vector<int64_t>& windows_;
  std::vector<std::map<int, std::vector<double>>> kept_;  // [windows], by prompt
  MarginRow margins_[std::size(kMarginBounds)];
};

class Bench {
 public:
  Bench(const SpeculationOptions& options, const LoadedModel& model, const Kernels& kernels)
      : options_(options),
        config_(model.config),
        kernels_(kernels),
        threads_(options.threads),
        kv_pool_(std::numeric_limits<size_t>::max() / 2),
        kv_ops_(kernels, threads_),
        transformer_(model.config, model.weights, kernels, threads_, kChunkTokens),
        tallies_(options.temperatures.size() * options.splits.size(), Tally(options.windows)) {}

  void Run(const BenchPrompt& prompt) {
    const auto tokens = static_cast<int64_t>(prompt.tokens.size());
    auto prefilled = KvSequence::Create(Plain(), 0, tokens, {&kv_pool_});
    LYNX_CHECK(prefilled != nullptr);
    const float* logits = Prefill(prompt.tokens, prefilled.get());
    Count(tokens);
    AddLosslessBytes(*prefilled, tokens, kernels_, &result_.lossless);
    std::vector<DraftedText> texts;
    for (double temperature : options_.temperatures) {
      SamplingParams sampling;
      sampling.temperature = temperature;
      sampling.seed = static_cast<uint64_t>(prompts_);
      texts.emplace_back(config_, options_.splits, sampling, kv_ops_, &kv_pool_, *prefilled,
                         prompt.tokens, tokens + TextTokensMax(options_));
      texts.back().SampleFirst(logits);
    }
    prefilled.reset();
    for (int window = 0; window < options_.windows_per_prompt; ++window) {
      if (window > 0) ExtendPrompts(texts);
      RunWindow(texts);
    }
    ++prompts_;
  }

  SpeculationResult Result() && {
    for (size_t t = 0; t < options_.temperatures.size(); ++t) {
      for (size_t s = 0; s < options_.splits.size(); ++s) {
        TallyOf(t, s).Report(options_.splits[s], options_.temperatures[t], &result_);
      }
    }
    result_.prompts = prompts_;
    return std::move(result_);
  }

  // What the windows add to a prompt.
  static int64_t TextTokensMax(const SpeculationOptions& options) {
    return options.windows_per_prompt * (options.windows.back() + 1);
  }

 private:
  Tally& TallyOf(size_t temperature, size_t split) {
    return tallies_[temperature * options_.splits.size() + split];
  }

  KvGeometry Plain() const {
    return {.layers = static_cast<int>(config_.layers),
            .shape = {static_cast<int>(config_.kv_heads), static_cast<int>(config_.head_dim)},
            .split = options_.splits[0],
            .target = KvTarget::kBf16Whole};
  }

  void Count(int64_t tokens) {
    result_.prompt_tokens += tokens;
    result_.longest = std::max(result_.longest, tokens);
    result_.shortest = result_.shortest == 0 ? tokens : std::min(result_.shortest, tokens);
  }

  const float* Prefill(const std::vector<int32_t>& prompt, KvSequence* kv) {
    int64_t count = 0;
    const auto tokens = static_cast<int64_t>(prompt.size());
    for (int64_t begin = 0; begin < tokens; begin += count) {
      count = std::min(kChunkTokens, tokens - begin);
      const PassRows rows{.tokens = std::span(prompt).subspan(begin, count),
                          .first_position = begin,
                          .kv = kv,
                          .view = KvView::kTarget};
      transformer_.Forward(PassKind::kPrefill, std::span(&rows, 1));
    }
    const int64_t last[] = {count - 1};
    return transformer_.Logits(last);
  }

  void ExtendPrompts(std::vector<DraftedText>& texts) {
    for (DraftedText& text : texts) {
      if (text.ended()) continue;
      const PassRows rows = text.PrefillRows();
      transformer_.Forward(PassKind::kPrefill, std::span(&rows, 1));
      const int64_t last[] = {static_cast<int64_t>(rows.tokens.size()) - 1};
      text.SampleFirst(transformer_.Logits(last));
    }
  }

  void RunWindow(std::vector<DraftedText>& texts) {
    std::vector<DraftedText*> open;
    for (DraftedText& text : texts) {
      if (text.ended()) continue;
      text.BeginWindow(options_.windows.back());
      open.push_back(&text);
    }
    while (Step(open)) {
    }
    for (DraftedText* text : open) {
      const Window window = text->EndWindow();
      for (size_t s = 0; s < options_.splits.size(); ++s) {
        TallyOf(text - texts.data(), s).Add(prompts_, window.length, window.drafters[s]);
      }
    }
  }

  bool Step(const std::vector<DraftedText*>& open) {
    std::vector<PassRows> pass;
    std::vector<DraftedText*> owners;  // of each row
    std::vector<DraftedText*> stepped;
    for (DraftedText* text : open) {
      if (!text->AddRows(&pass)) continue;
      owners.resize(pass.size(), text);
      stepped.push_back(text);
    }
    if (pass.empty()) return false;
    transformer_.Forward(PassKind::kDecode, pass);
    for (size_t row = 0; row < pass.size(); ++row) {
      const int64_t rows[] = {static_cast<int64_t>(row)};
      owners[row]->TakeLogits(transformer_.Logits(rows));
    }
    for (DraftedText* text : stepped) text->EndStep();
    return true;
  }

  const SpeculationOptions& options_;
  const ModelConfig& config_;
  const Kernels& kernels_;
  ThreadPool threads_;
  KvPool kv_pool_;
  CpuKvOps kv_ops_;
  CpuTransformer transformer_;
  std::vector<Tally> tallies_;  // [temperatures, splits]
  int prompts_ = 0;
  SpeculationResult result_;
};

absl::Status Validate(const SpeculationOptions& options, const std::vector<BenchPrompt>& prompts,
                      const ModelConfig& config) {
  if (prompts.empty()) return absl::InvalidArgumentError("no prompts were given");
  if (options.splits.empty() || options.temperatures.empty() || options.windows.empty() ||
      options.windows.front() < 1 || options.windows_per_prompt < 1 ||
      !std::is_sorted(options.windows.begin(), options.windows.end())) {
    return absl::InvalidArgumentError(
        "splits, temperatures and ascending windows of one draft or more are needed");
  }
  const int64_t text = Bench::TextTokensMax(options);
  for (const BenchPrompt& p : prompts) {
    const auto tokens = static_cast<int64_t>(p.tokens.size());
    if (tokens >= 1 && tokens <= config.max_context - text) continue;
    return absl::InvalidArgumentError(absl::StrCat("prompt ", p.name, " has ", tokens,
                                                   " tokens: 1 to ", config.max_context - text,
                                                   " leave room for its windows"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SpeculationResult> RunSpeculationBench(const SpeculationOptions& options,
                                                      const std::vector<BenchPrompt>& prompts,
                                                      const LoadedModel& model) {
  RETURN_IF_ERROR(Validate(options, prompts, model.config));
  const Kernels* kernels = SelectKernels();
  if (kernels == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  SetExactFloatMode();
  Bench bench(options, model, *kernels);
  for (const BenchPrompt& prompt : prompts) bench.Run(prompt);
  return std::move(bench).Result();
}

}  // namespace lynx::bench
