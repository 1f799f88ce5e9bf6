#include "cli/generate.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cli/local_pair.h"
#include "cli/pair_request.h"
#include "model/cpu_backend.h"
#include "model/detokenizer.h"
#include "model/kv_format.h"
#include "model/reference_decoder.h"

namespace lynx {
namespace {

double Seconds(Nanos t) { return std::chrono::duration<double>(t).count(); }

// Committed tokens into text, given out character by character.
class TextWriter {
 public:
  TextWriter(const TextModel& model, const TextSink& sink) : model_(model), sink_(sink) {}

  void Push(int32_t id) {
    std::string bytes;
    model_.AppendTokenBytes(id, /*skip_special=*/true, &bytes);
    Write(stream_.Push(bytes));
  }
  std::string Finish() {
    Write(stream_.Finish());
    return std::move(text_);
  }

 private:
  void Write(const std::string& piece) {
    if (piece.empty()) return;
    text_ += piece;
    if (sink_) sink_(piece);
  }

  const TextModel& model_;
  const TextSink& sink_;
  Utf8Stream stream_;
  std::string text_;
};

absl::Status CheckLength(const GenerateOptions& options, size_t prompt_tokens,
                         const ModelConfig& config) {
  const auto prompt = static_cast<int64_t>(prompt_tokens);
  if (prompt == 0) return absl::InvalidArgumentError("the prompt is empty");
  if (options.max_tokens < 1) return absl::InvalidArgumentError("max_tokens must be at least 1");
  if (prompt > config.max_context || options.max_tokens > config.max_context - prompt) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt (", prompt, " tokens) and --max-tokens (", options.max_tokens,
                     ") together exceed the model's context of ", config.max_context, " tokens"));
  }
  return absl::OkStatus();
}

absl::StatusOr<GenerateResult> WithReference(const GenerateOptions& options,
                                             const std::vector<int32_t>& prompt,
                                             const LoadedModel& model, const Kernels& kernels,
                                             TextWriter& writer) {
  ASSIGN_OR_RETURN(const KvGeometry geometry,
                   MakeKvGeometry(model.config, options.target, options.split));
  ThreadPool pool(options.threads);
  CpuBackend backend(model.config, model.weights, kernels, pool);
  const std::unique_ptr<Transformer> transformer = backend.NewTransformer(options.chunk_tokens);
  const SteadyClock clock;
  const Nanos start = clock.Now();
  std::vector<Nanos> token_at;
  ReferenceRequest request;
  request.prompt = prompt;
  request.max_tokens = options.max_tokens;
  request.sampling = options.sampling;
  request.on_token = [&](int32_t id) {
    token_at.push_back(clock.Now() - start);
    writer.Push(id);
  };
  if (!options.ignore_eos) request.ending_ids = model.config.eos_ids;
  ASSIGN_OR_RETURN(ReferenceResult decoded,
                   DecodeReference(request, geometry, /*code_free=*/false, *transformer, backend));
  GenerateResult result;
  result.tokens = std::move(decoded.tokens);
  result.total_s = Seconds(clock.Now() - start);
  result.first_token_s = Seconds(token_at[0]);
  if (token_at.size() > 1) {
    result.second_token_provisional_s = result.second_token_committed_s = Seconds(token_at[1]);
  }
  return result;
}

absl::StatusOr<GenerateResult> WithPair(const GenerateOptions& options,
                                        const std::vector<int32_t>& prompt,
                                        const LoadedModel& model, const Kernels& kernels,
                                        TextWriter& writer) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalPair> pair,
                   LocalPair::Start(MakePairOptions({.target = options.target,
                                                     .split = options.split,
                                                     .link_bits_per_s = options.link_bits_per_s,
                                                     .prefill_threads = options.threads,
                                                     .decode_threads = options.threads,
                                                     .chunk_tokens = options.chunk_tokens,
                                                     .max_draft_tokens = options.max_draft_tokens}),
                                    model, kernels));
  size_t written = 0;
  const TimedResult timed = pair->Generate(
      MakePairRequest(prompt, options.max_tokens, options.sampling, options.ignore_eos),
      [&](const TimedResult& so_far) {
        const auto committed = static_cast<size_t>(so_far.collected.committed);
        for (; written < committed; ++written) writer.Push(so_far.collected.tokens[written].id());
      });
  RETURN_IF_ERROR(timed.collected.status);
  const v1::GenerateStats& stats = timed.collected.finished.stats();
  GenerateResult result;
  result.tokens = timed.collected.ids();
  result.total_s = Seconds(timed.total);
  if (!timed.committed_at.empty()) result.first_token_s = Seconds(timed.committed_at[0]);
  if (timed.committed_at.size() > 1) {
    result.second_token_provisional_s = Seconds(*timed.second_known_at);
    result.second_token_committed_s = Seconds(timed.committed_at[1]);
  }
  result.drafted = stats.drafted();
  result.accepted = stats.accepted();
  result.rolled_back = stats.rolled_back();
  result.anchor_bytes = stats.anchor_bytes();
  result.residual_bytes = stats.residual_bytes();
  result.tail_bytes = stats.tail_bytes();
  return result;
}

nlohmann::ordered_json OrNull(const std::optional<double>& value) {
  if (!value.has_value()) return nullptr;
  return *value;
}

}  // namespace

absl::StatusOr<GenerateResult> Generate(const GenerateOptions& options,
                                        const std::vector<int32_t>& prompt,
                                        const LoadedModel& model, const TextModel& text_model,
                                        const TextSink& sink) {
  RETURN_IF_ERROR(CheckLength(options, prompt.size(), model.config));
  RETURN_IF_ERROR(options.sampling.Validate(model.config.vocab));
  const Kernels* kernels = SelectKernels();
  if (kernels == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  TextWriter writer(text_model, sink);
  const auto run = options.reference ? WithReference : WithPair;
  ASSIGN_OR_RETURN(GenerateResult result, run(options, prompt, model, *kernels, writer));
  result.text = writer.Finish();
  return result;
}

nlohmann::ordered_json GenerateJson(const GenerateResult& result) {
  return {{"tokens", result.tokens},
          {"text", result.text},
          {"timings",
           {{"first_token_s", OrNull(result.first_token_s)},
            {"second_token_provisional_s", OrNull(result.second_token_provisional_s)},
            {"second_token_committed_s", OrNull(result.second_token_committed_s)},
            {"total_s", result.total_s}}},
          {"speculation",
           {{"drafted", result.drafted},
            {"accepted", result.accepted},
            {"rolled_back", result.rolled_back}}},
          {"bytes",
           {{"anchor", result.anchor_bytes},
            {"residual", result.residual_bytes},
            {"tail", result.tail_bytes}}}};
}

}  // namespace lynx
