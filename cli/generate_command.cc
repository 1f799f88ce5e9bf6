// `lynx generate`.
#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "cli/generate.h"
#include "cli/text_file.h"
#include "cli/units.h"
#include "gateway/model_text.h"
#include "model/kv_format.h"
#include "proto/role_options.h"

namespace lynx {
namespace {

struct Arguments {
  std::string model;
  std::string prompt;
  std::string prompt_file;
  std::string kv_target = "int8";
  std::string anchor_bits = "5,4";
  std::string link = "none";
  bool chat = false;
  bool json = false;
  int64_t threads = 0;
  GenerateOptions options;
};

absl::StatusOr<std::vector<int32_t>> Tokenize(const Arguments& a, const std::string& text,
                                              const TextModel& model) {
  if (!a.chat) return model.Encode(text, /*add_special_tokens=*/true);
  ChatPrompt chat{.messages = {{{"role", "user"}, {"content", text}}},
                  .template_kwargs = nlohmann::json::object()};
  return model.EncodeChat(chat);
}

void WritePiece(std::string_view piece) {
  std::fwrite(piece.data(), 1, piece.size(), stdout);
  std::fflush(stdout);
}

void PrintJson(const GenerateResult& result) {
  const std::string line =
      GenerateJson(result).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  std::printf("%s\n", line.c_str());
}

absl::Status Run(const Arguments& a) {
  GenerateOptions options = a.options;
  ASSIGN_OR_RETURN(options.target, ParseKvTarget(a.kv_target));
  ASSIGN_OR_RETURN(options.split, ParseAnchorBits(a.anchor_bits));
  ASSIGN_OR_RETURN(options.link_bits_per_s, ParseBitRate(a.link));
  options.threads = ResolveThreads(a.threads);
  std::string text = a.prompt;
  if (!a.prompt_file.empty()) {
    ASSIGN_OR_RETURN(text, ReadTextFile(a.prompt_file));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<const TextModel> text_model, LoadTextModel(a.model));
  ASSIGN_OR_RETURN(const std::vector<int32_t> prompt, Tokenize(a, text, *text_model));
  ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(a.model, options.threads));
  ASSIGN_OR_RETURN(const GenerateResult result,
                   Generate(options, prompt, model, *text_model,
                            a.json ? TextSink(nullptr) : TextSink(WritePiece)));
  if (a.json) {
    PrintJson(result);
  } else {
    std::printf("\n");
  }
  return absl::OkStatus();
}

void AddSampling(CLI::App& command, GenerateOptions& options) {
  SamplingParams& s = options.sampling;
  command.add_option("--max-tokens", options.max_tokens, "Tokens to generate at most")
      ->capture_default_str();
  command.add_option("--seed", s.seed, "Of the sampling's noise")->capture_default_str();
  command.add_option("--temperature", s.temperature, "0: the most likely token")
      ->capture_default_str();
  command.add_option("--top-p", s.top_p, "Keep the likeliest tokens up to this probability");
  command.add_option("--top-k", s.top_k, "Keep so many of the likeliest tokens; 0: all");
  command.add_option("--min-p", s.min_p, "Keep tokens at least so likely beside the likeliest");
  command.add_option("--repetition-penalty", s.repetition_penalty, "1: off");
  command.add_option("--presence-penalty", s.presence_penalty, "0: off");
  command.add_option("--frequency-penalty", s.frequency_penalty, "0: off");
  command.add_flag("--ignore-eos", options.ignore_eos, "Go on behind an end-of-text token");
}

}  // namespace

void AddGenerateCommand(CLI::App& app, CommandRun* run) {
  CLI::App& command = *app.add_subcommand("generate", "One request without a server");
  auto a = std::make_shared<Arguments>();
  command.add_option("--model", a->model, "A GGUF file or a Hugging Face folder")->required();
  CLI::Option* prompt = command.add_option("--prompt", a->prompt, "The prompt's text");
  CLI::Option* file = command.add_option("--prompt-file", a->prompt_file, "A file that holds it");
  prompt->excludes(file);
  command.add_flag("--chat", a->chat, "The prompt is a user's message: apply the chat template");
  command.add_flag("--reference", a->options.reference, "Plain decoding in one process");
  command.add_option("--kv-target", a->kv_target, "int8 or bf16, or a baseline")
      ->check(CLI::IsMember({"int8", "bf16", "int8_whole", "int4_whole", "bf16_whole"}))
      ->capture_default_str();
  command.add_option("--anchor-bits", a->anchor_bits, "Bits of K and V that travel first")
      ->capture_default_str();
  command.add_option("--link", a->link, "Rate of the link between the engines, as 100mbit")
      ->capture_default_str();
  command.add_option("--threads", a->threads, "Of each engine; 0: one a core")
      ->check(CLI::Range(0, 1024));
  command.add_option("--max-draft-tokens", a->options.max_draft_tokens, "0: never draft")
      ->check(CLI::Range(0, 255))
      ->capture_default_str();
  AddSampling(command, a->options);
  command.add_flag("--json", a->json, "Print tokens, text, timings and counts as JSON");
  command.callback([a, run, prompt, file] {
    if (prompt->count() + file->count() == 0) {
      throw CLI::RequiredError("--prompt or --prompt-file");
    }
    *run = [a] { return Run(*a); };
  });
}

}  // namespace lynx
