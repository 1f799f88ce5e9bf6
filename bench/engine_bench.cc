#include "bench/engine_bench.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "absl/strings/str_format.h"
#include "bench/kv_filler.h"
#include "model/cpu_transformer.h"
#include "model/kv_format.h"
#include "runtime/clock.h"
#include "runtime/cpu.h"

namespace lynx::bench {
namespace {

struct Measured {
  double mean = 0;
  double deviation = 0;
};

Measured Measure(int repetitions, int64_t tokens, const std::function<void()>& prepare,
                 const std::function<void()>& run) {
  const SteadyClock clock;
  std::vector<double> rates;
  for (int i = 0; i <= repetitions; ++i) {
    prepare();
    const Nanos start = clock.Now();
    run();
    const double seconds = std::chrono::duration<double>(clock.Now() - start).count();
    if (i > 0) rates.push_back(static_cast<double>(tokens) / seconds);
  }
  Measured m;
  for (double rate : rates) m.mean += rate / static_cast<double>(rates.size());
  for (double rate : rates) m.deviation += (rate - m.mean) * (rate - m.mean);
  if (rates.size() > 1) m.deviation = std::sqrt(m.deviation / (rates.size() - 1.0));
  return m;
}

class Bench {
 public:
  Bench(const EngineBenchOptions& options, const KvGeometry& geometry, const LoadedModel& model,
        const Kernels& kernels)
      : options_(options),
        geometry_(geometry),
        kernels_(kernels),
        pool_(options.threads),
        kv_pool_(std::numeric_limits<size_t>::max() / 2),
        transformer_(model.config, model.weights, kernels, pool_, options.chunk_tokens) {
    std::mt19937 rng(1);
    const int64_t count = std::max(options.prompt_tokens, options.generated_tokens);
    for (int64_t i = 0; i < count; ++i) {
      tokens_.push_back(static_cast<int32_t>(rng() % model.config.vocab));
    }
  }

  // A prefill reads what is before it as BF16, whatever the target.
  Measured Prompt() {
    KvGeometry plain = geometry_;
    plain.target = KvTarget::kBf16Whole;
    return Measure(
        options_.repetitions, options_.prompt_tokens,
        [&] { NewSequence(plain, 0, options_.prompt_tokens); }, [&] { RunPrompt(); });
  }

  Measured Generation() {
    return Measure(
        options_.repetitions, options_.generated_tokens,
        [&] { NewSequence(geometry_, options_.depth / kPageTokens, options_.generated_tokens); },
        [&] { RunGeneration(); });
  }

 private:
  void NewSequence(const KvGeometry& geometry, int64_t code_pages, int64_t tokens) {
    kv_.reset();
    kv_ = KvSequence::Create(geometry, code_pages, options_.depth + tokens, {&kv_pool_});
    LYNX_CHECK(kv_ != nullptr);
    KvFiller(geometry, kernels_).Fill(options_.depth, kv_.get());
  }

  void Pass(int64_t begin, int64_t count) {
    const PassRows rows{.tokens = std::span(tokens_).subspan(begin, count),
                        .first_position = options_.depth + begin,
                        .kv = kv_.get(),
                        .view = KvView::kTarget};
    transformer_.Forward(PassKind::kDecode, std::span(&rows, 1));
  }

  void RunPrompt() {
    int64_t count = 0;
    for (int64_t begin = 0; begin < options_.prompt_tokens; begin += count) {
      count = std::min(options_.chunk_tokens, options_.prompt_tokens - begin);
      Pass(begin, count);
    }
    const int64_t last[] = {count - 1};
    transformer_.Logits(last);
  }

  void RunGeneration() {
    const int64_t row[] = {0};
    for (int64_t i = 0; i < options_.generated_tokens; ++i) {
      Pass(i, 1);
      kernels_.argmax(transformer_.Logits(row), transformer_.vocab());
    }
  }

  const EngineBenchOptions options_;
  const KvGeometry geometry_;
  const Kernels& kernels_;
  ThreadPool pool_;
  KvPool kv_pool_;
  CpuTransformer transformer_;
  std::vector<int32_t> tokens_;
  std::unique_ptr<KvSequence> kv_;
};

}  // namespace

absl::StatusOr<EngineBenchResult> RunEngineBench(const EngineBenchOptions& options,
                                                 const LoadedModel& model) {
  const int64_t longest = options.depth + std::max(options.prompt_tokens, options.generated_tokens);
  if (longest > model.config.max_context) {
    return absl::InvalidArgumentError(absl::StrCat("depth and tokens (", longest,
                                                   ") exceed the model's context of ",
                                                   model.config.max_context));
  }
  const Kernels* kernels = SelectKernels();
  if (kernels == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  ASSIGN_OR_RETURN(const KvGeometry geometry,
                   MakeKvGeometry(model.config, options.target, options.split));
  SetExactFloatMode();
  Bench bench(options, geometry, model, *kernels);
  EngineBenchResult result{.options = options};
  if (options.prompt_tokens > 0) {
    const Measured m = bench.Prompt();
    result.pp_tokens_per_s = m.mean;
    result.pp_deviation = m.deviation;
  }
  if (options.generated_tokens > 0) {
    const Measured m = bench.Generation();
    result.tg_tokens_per_s = m.mean;
    result.tg_deviation = m.deviation;
  }
  return result;
}

std::string FormatEngineBench(const EngineBenchResult& result, const ModelConfig& config) {
  const EngineBenchOptions& o = result.options;
  std::string text = absl::StrFormat("%s, %d thread(s), depth %d, kv %s\n", config.name, o.threads,
                                     o.depth, std::string(KvTargetName(o.target)));
  if (o.prompt_tokens > 0) {
    absl::StrAppendFormat(&text, "pp%-6d %10.1f +- %.1f tokens/s\n", o.prompt_tokens,
                          result.pp_tokens_per_s, result.pp_deviation);
  }
  if (o.generated_tokens > 0) {
    absl::StrAppendFormat(&text, "tg%-6d %10.2f +- %.2f tokens/s\n", o.generated_tokens,
                          result.tg_tokens_per_s, result.tg_deviation);
  }
  return text;
}

nlohmann::ordered_json EngineBenchJson(const EngineBenchResult& result) {
  return {{"pp_tokens_per_s", result.pp_tokens_per_s},
          {"tg_tokens_per_s", result.tg_tokens_per_s},
          {"threads", result.options.threads},
          {"depth", result.options.depth}};
}

}  // namespace lynx::bench
