// `lynx bench engine`, `kernels` and `transfer`.
#include <cstdio>
#include <memory>

#include "bench/bench_text.h"
#include "bench/engine_bench.h"
#include "bench/kernel_bench.h"
#include "bench/paper_plot.h"
#include "bench/paper_table.h"
#include "cli/command.h"
#include "cli/text_file.h"
#include "cli/units.h"
#include "gateway/model_text.h"
#include "model/kv_format.h"
#include "proto/role_options.h"

namespace lynx {
namespace {

struct Common {
  std::string model;
  std::string json_file;
  std::string kv_target = "int8";
  std::string anchor_bits = "5,4";
  int64_t threads = 0;
};

absl::Status WriteJson(const std::string& path, const nlohmann::ordered_json& json) {
  return path.empty() ? absl::OkStatus() : WriteTextFile(path, json.dump(2) + "\n");
}

// ---- engine ----

struct EngineArguments {
  Common common;
  bench::EngineBenchOptions options;
};

absl::Status RunEngine(const EngineArguments& a) {
  bench::EngineBenchOptions options = a.options;
  ASSIGN_OR_RETURN(options.target, ParseKvTarget(a.common.kv_target));
  ASSIGN_OR_RETURN(options.split, ParseAnchorBits(a.common.anchor_bits));
  options.threads = ResolveThreads(a.common.threads);
  ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(a.common.model));
  ASSIGN_OR_RETURN(const auto result, bench::RunEngineBench(options, model));
  std::fputs(bench::FormatEngineBench(result, model.config).c_str(), stdout);
  return WriteJson(a.common.json_file, bench::EngineBenchJson(result));
}

void AddCommon(CLI::App& command, Common& common, bool with_model) {
  command.add_option("--threads", common.threads, "0: one a core")->check(CLI::Range(0, 1024));
  command.add_option("--json", common.json_file, "Write the figures to this file too");
  if (!with_model) return;
  command.add_option("--model", common.model, "A GGUF file or a folder")->required();
  command.add_option("--anchor-bits", common.anchor_bits, "Bits of K and V that travel first")
      ->capture_default_str();
}

void AddEngine(CLI::App& bench, CommandRun* run) {
  CLI::App& command = *bench.add_subcommand("engine", "Prefill and decode tokens a second");
  auto a = std::make_shared<EngineArguments>();
  AddCommon(command, a->common, /*with_model=*/true);
  bench::EngineBenchOptions& o = a->options;
  const CLI::Range tokens(0, 1 << 24);
  command.add_option("--pp", o.prompt_tokens, "Prompt tokens")->check(tokens);
  command.add_option("--tg", o.generated_tokens, "Generated tokens")->check(tokens);
  command.add_option("--depth", o.depth, "Tokens in the KV cache before")->check(tokens);
  command.add_option("--repetitions", o.repetitions)->check(CLI::Range(1, 1000));
  command.add_option("--kv-target", a->common.kv_target, "How they are held while generating")
      ->check(CLI::IsMember({"int8", "bf16", "int8_whole", "int4_whole", "bf16_whole"}));
  command.callback([a, run] { *run = [a] { return RunEngine(*a); }; });
}

// ---- kernels ----

struct KernelArguments {
  Common common;
  bench::KernelBenchOptions options;
};

absl::Status RunKernels(const KernelArguments& a) {
  bench::KernelBenchOptions options = a.options;
  options.threads = ResolveThreads(a.common.threads);
  ASSIGN_OR_RETURN(const bench::KernelReport report, bench::RunKernelBench(options));
  std::fputs(bench::FormatKernelReport(report).c_str(), stdout);
  return WriteJson(a.common.json_file, bench::KernelReportJson(report));
}

void AddKernels(CLI::App& bench, CommandRun* run) {
  CLI::App& command = *bench.add_subcommand("kernels", "Every kernel beside its roofline");
  auto a = std::make_shared<KernelArguments>();
  AddCommon(command, a->common, /*with_model=*/false);
  command.add_option("--tier", a->options.tier, "scalar, avx2, avx512 or avx512_bf16");
  command.callback([a, run] { *run = [a] { return RunKernels(*a); }; });
}

// ---- transfer ----

struct TransferArguments {
  Common common;
  std::string link = "none";
  std::vector<std::string> formats = {"bf16", "int8", "int4", "lynx"};
  std::string text_file;
  std::string plot_file;
  bench::PaperTableOptions options;
};

absl::StatusOr<std::vector<int32_t>> PromptText(const TransferArguments& a) {
  std::string text(bench::kBenchText);
  if (!a.text_file.empty()) {
    ASSIGN_OR_RETURN(text, ReadTextFile(a.text_file));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<const TextModel> model, LoadTextModel(a.common.model));
  return model->Encode(text, /*add_special_tokens=*/false);
}

absl::Status RunTransfer(const TransferArguments& a) {
  bench::PaperTableOptions options = a.options;
  ASSIGN_OR_RETURN(const KvTarget target, ParseKvTarget(a.common.kv_target));
  ASSIGN_OR_RETURN(options.formats, bench::ParseFormats(a.formats, target));
  ASSIGN_OR_RETURN(options.split, ParseAnchorBits(a.common.anchor_bits));
  ASSIGN_OR_RETURN(options.link_bits_per_s, ParseBitRate(a.link));
  options.prefill_threads = options.decode_threads = ResolveThreads(a.common.threads);
  ASSIGN_OR_RETURN(const std::vector<int32_t> text, PromptText(a));
  ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(a.common.model));
  ASSIGN_OR_RETURN(const auto rows, bench::RunPaperTable(options, text, model));
  std::fputs(bench::FormatPaperTable(options, rows).c_str(), stdout);
  if (!a.plot_file.empty()) {
    RETURN_IF_ERROR(WriteTextFile(a.plot_file, bench::PlotPaperTable(options, rows)));
  }
  return WriteJson(a.common.json_file, bench::PaperTableJson(options, rows));
}

void AddTransfer(CLI::App& bench, CommandRun* run) {
  CLI::App& command = *bench.add_subcommand("transfer", "When tokens are known, by KV format");
  auto a = std::make_shared<TransferArguments>();
  AddCommon(command, a->common, /*with_model=*/true);
  bench::PaperTableOptions& o = a->options;
  command.add_option("--link", a->link, "Rate of the link, as 100mbit")->capture_default_str();
  command.add_option("--formats", a->formats, "Of bf16, int8, int4, lynx")->delimiter(',');
  command.add_option("--kv-target", a->common.kv_target, "What lynx ends in: int8 or bf16")
      ->check(CLI::IsMember({"int8", "bf16"}));
  command.add_option("--prompt-tokens", o.prompt_tokens)->check(CLI::Range(1, 1 << 24));
  command.add_option("--concurrency", o.concurrency, "Requests at once")->check(CLI::Range(1, 256));
  command.add_option("--runs", o.runs, "Medians are over so many")->check(CLI::Range(1, 1000));
  command.add_option("--text-file", a->text_file, "Where prompts are cut from");
  command.add_option("--plot", a->plot_file, "Write a picture (SVG) to this file");
  command.callback([a, run] { *run = [a] { return RunTransfer(*a); }; });
}

}  // namespace

void AddBenchCommand(CLI::App& app, CommandRun* run) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure this machine");
  bench.require_subcommand(1);
  AddEngine(bench, run);
  AddKernels(bench, run);
  AddTransfer(bench, run);
}

}  // namespace lynx
