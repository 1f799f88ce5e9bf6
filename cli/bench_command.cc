// `lynx bench engine`, `kernels`, `speculation` and `transfer`.
#include <cstdio>
#include <memory>

#include "bench/bench_prompts.h"
#include "bench/bench_text.h"
#include "bench/cuda/gpu_kernel_bench.h"
#include "bench/engine_bench.h"
#include "bench/kernel_bench.h"
#include "bench/paper_plot.h"
#include "bench/paper_table.h"
#include "bench/speculation_bench.h"
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
  ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(a.common.model, options.threads));
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
  bool gpu = false;
  bench::GpuBenchOptions gpu_options;
};

absl::Status RunGpuKernels(const KernelArguments& a) {
  ASSIGN_OR_RETURN(const bench::GpuKernelReport report, bench::RunGpuKernelBench(a.gpu_options));
  std::fputs(bench::FormatGpuKernelReport(report).c_str(), stdout);
  return WriteJson(a.common.json_file, bench::GpuKernelReportJson(report));
}

absl::Status RunKernels(const KernelArguments& a) {
  if (a.gpu) return RunGpuKernels(a);
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
  CLI::Option& tier =
      *command.add_option("--tier", a->options.tier, "scalar, avx2, avx512 or avx512_bf16");
  CLI::Option& gpu =
      *command.add_flag("--gpu", a->gpu, "The CUDA backend's kernels instead of the CPU's")
           ->excludes(&tier);
  command.add_flag("--tiny", a->gpu_options.tiny, "Small sizes, once: times mean nothing")
      ->needs(&gpu);
  command.add_option("--only", a->gpu_options.only, "Kernels whose name begins with this")
      ->needs(&gpu);
  command.callback([a, run] { *run = [a] { return RunKernels(*a); }; });
}

// ---- speculation ----

struct SpeculationArguments {
  Common common;
  std::vector<std::string> splits = {"5,4", "4,4"};
  std::string prompts_file;
  bench::SpeculationOptions options;
};

absl::Status RunSpeculation(const SpeculationArguments& a) {
  bench::SpeculationOptions options = a.options;
  options.threads = ResolveThreads(a.common.threads);
  options.splits.clear();
  for (const std::string& bits : a.splits) {
    ASSIGN_OR_RETURN(const KvSplit split, ParseAnchorBits(bits));
    options.splits.push_back(split);
  }
  ASSIGN_OR_RETURN(const std::string json, ReadTextFile(a.prompts_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<const TextModel> text, LoadTextModel(a.common.model));
  ASSIGN_OR_RETURN(const auto prompts, bench::ParsePrompts(json, *text));
  ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(a.common.model, options.threads));
  ASSIGN_OR_RETURN(const auto result, bench::RunSpeculationBench(options, prompts, model));
  std::fputs(bench::FormatSpeculationBench(result).c_str(), stdout);
  return WriteJson(a.common.json_file, bench::SpeculationBenchJson(result));
}

void AddSpeculation(CLI::App& bench, CommandRun* run) {
  CLI::App& command =
      *bench.add_subcommand("speculation", "Drafts accepted and bits moved, over real prompts");
  auto a = std::make_shared<SpeculationArguments>();
  AddCommon(command, a->common, /*with_model=*/false);
  bench::SpeculationOptions& o = a->options;
  command.add_option("--model", a->common.model, "A GGUF file or a folder")->required();
  command.add_option("--prompts", a->prompts_file, "As bench/data/prompts.json")->required();
  command.add_option("--anchor-bits", a->splits, "Bits of K and V that travel first")
      ->capture_default_str();
  command.add_option("--windows-per-prompt", o.windows_per_prompt)->check(CLI::Range(1, 1000));
  command.callback([a, run] { *run = [a] { return RunSpeculation(*a); }; });
}

// ---- transfer ----

struct TransferArguments {
  Common common;
  std::string link = "none";
  std::vector<std::string> formats = {"bf16", "int8", "int4", "lynx"};
  std::string text_file;
  std::string prompts_file;
  std::string plot_file;
  int64_t residual_max_wait_ms = -1;  // the default
  double virtual_prefill_tokens_per_s = 0;
  double virtual_step_ms = 5;
  bench::PaperTableOptions options;
};

absl::StatusOr<std::vector<bench::TokenIds>> TransferPrompts(const TransferArguments& a) {
  ASSIGN_OR_RETURN(const std::unique_ptr<const TextModel> model, LoadTextModel(a.common.model));
  const int64_t tokens = a.options.prompt_tokens;
  if (a.prompts_file.empty()) {
    std::string text(bench::kBenchText);
    if (!a.text_file.empty()) {
      ASSIGN_OR_RETURN(text, ReadTextFile(a.text_file));
    }
    ASSIGN_OR_RETURN(const bench::TokenIds ids, model->Encode(text, /*add_special_tokens=*/false));
    return bench::CutPrompts(ids, tokens, a.options.runs * a.options.concurrency);
  }
  ASSIGN_OR_RETURN(const std::string json, ReadTextFile(a.prompts_file));
  ASSIGN_OR_RETURN(auto from_file, bench::ParsePrompts(json, *model));
  std::vector<bench::TokenIds> prompts;
  for (bench::BenchPrompt& p : from_file) {
    if (static_cast<int64_t>(p.tokens.size()) <= tokens) prompts.push_back(std::move(p.tokens));
  }
  return prompts;
}

absl::Status RunTransfer(const TransferArguments& a) {
  bench::PaperTableOptions options = a.options;
  ASSIGN_OR_RETURN(const KvTarget target, ParseKvTarget(a.common.kv_target));
  ASSIGN_OR_RETURN(options.formats, bench::ParseFormats(a.formats, target));
  ASSIGN_OR_RETURN(options.split, ParseAnchorBits(a.common.anchor_bits));
  ASSIGN_OR_RETURN(options.link_bits_per_s, ParseBitRate(a.link));
  options.prefill_threads = options.decode_threads = ResolveThreads(a.common.threads);
  if (a.residual_max_wait_ms >= 0) {
    options.residual_max_wait = std::chrono::milliseconds(a.residual_max_wait_ms);
  }
  if (a.virtual_prefill_tokens_per_s > 0) {
    options.virtual_machines = {
        .prefill_tokens_per_s = a.virtual_prefill_tokens_per_s,
        .decode_step = Nanos(static_cast<int64_t>(a.virtual_step_ms * 1e6))};
  }
  ASSIGN_OR_RETURN(const std::vector<bench::TokenIds> prompts, TransferPrompts(a));
  ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(a.common.model, options.prefill_threads));
  ASSIGN_OR_RETURN(const auto rows, bench::RunPaperTable(options, prompts, model));
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
  command
      .add_option("--residual-max-wait-ms", a->residual_max_wait_ms,
                  "transfer.residual_max_wait_ms of the sender")
      ->check(CLI::Range(0, 3600 * 1000));
  CLI::Option& machine =
      *command
           .add_option("--virtual-prefill", a->virtual_prefill_tokens_per_s,
                       "Virtual time: a machine that computes so many prompt tokens a second")
           ->check(CLI::Range(1.0, 1e9));
  command
      .add_option("--virtual-step-ms", a->virtual_step_ms, "...and needs so long for a decode step")
      ->needs(&machine)
      ->check(CLI::Range(0.001, 1e6));
  CLI::Option& text =
      *command.add_option("--text-file", a->text_file, "Where prompts are cut from");
  command
      .add_option("--prompts", a->prompts_file,
                  "Chats, as bench/data/prompts.json; those of --prompt-tokens at most are taken")
      ->excludes(&text);
  command.add_option("--plot", a->plot_file, "Write a picture (SVG) to this file");
  command.callback([a, run] { *run = [a] { return RunTransfer(*a); }; });
}

}  // namespace

void AddBenchCommand(CLI::App& app, CommandRun* run) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure this machine");
  bench.require_subcommand(1);
  AddEngine(bench, run);
  AddKernels(bench, run);
  AddSpeculation(bench, run);
  AddTransfer(bench, run);
}

}  // namespace lynx
