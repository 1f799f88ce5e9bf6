// `lynx up`.
#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/command.h"
#include "cli/config_flags.h"
#include "cli/http_get.h"
#include "cli/supervisor.h"
#include "cli/up_plan.h"
#include "model/device.h"
#include "model/loader.h"
#include "proto/role_options.h"

namespace lynx {
namespace {

constexpr Nanos kProbeTimeout = std::chrono::milliseconds(500);

struct Arguments {
  std::string file;
  std::vector<std::string> flags;
};

absl::StatusOr<std::string> ProgramFolder() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError(absl::StrCat("/proc/self/exe: ", error.message()));
  return self.parent_path().string();
}

// Devices that this build has, and that give the same bits.
absl::Status CheckDevices(const std::string& prefill, const std::string& decode) {
  if (prefill != decode) {
    return absl::InvalidArgumentError(
        absl::StrCat("prefill.device is ", prefill, " and decode.device is ", decode,
                     ": their bits differ, so that they refuse each other; --device sets both"));
  }
  return CheckDevice(prefill);
}

absl::Status Run(const Arguments& a) {
  ASSIGN_OR_RETURN(const LoadedConfig loaded, LoadCommandConfig(a.file, a.flags));
  if (loaded.config.model.empty()) {
    return absl::InvalidArgumentError("no model: name a GGUF file or a folder with --model");
  }
  RETURN_IF_ERROR(CheckDevices(loaded.config.prefill.device, loaded.config.decode.device));
  ASSIGN_OR_RETURN(const ModelMetadata model, LoadModelMetadata(loaded.config.model));
  ASSIGN_OR_RETURN(const std::string folder, ProgramFolder());
  ASSIGN_OR_RETURN(const UpPlan plan, MakeUpPlan(loaded, a.file, a.flags, folder));
  if (!plan.note.empty()) std::fprintf(stderr, "lynx up: %s\n", plan.note.c_str());
  Supervisor supervisor(
      plan.children,
      [&] { return HttpGetStatus(plan.host, plan.port, "/health", kProbeTimeout) == 200; },
      [&] {
        std::printf("lynx is ready: %s at http://%s/v1\n", model.config.name.c_str(),
                    JoinHostPort(plan.host, plan.port).c_str());
        std::fflush(stdout);
      });
  return supervisor.Run();
}

}  // namespace

void AddUpCommand(CLI::App& app, CommandRun* run) {
  CLI::App* command = app.add_subcommand(
      "up",
      "Serve a model on this machine: gateway, prefill and decode as three processes. Any option "
      "of the configuration can be given as --section.key=value.");
  struct Flags {
    std::string model;
    std::string device;
    int64_t port = 0;
    int64_t threads = 0;
  };
  auto a = std::make_shared<Arguments>();
  auto flags = std::make_shared<Flags>();
  CLI::Option* model = command->add_option("--model", flags->model, "A GGUF file or a folder");
  CLI::Option* port = command->add_option("--port", flags->port, "Of the OpenAI API; 0: any")
                          ->check(CLI::Range(0, 65535));
  CLI::Option* threads = command->add_option("--threads", flags->threads, "Of each engine")
                             ->check(CLI::Range(0, 1024));
  CLI::Option* device =
      command->add_option("--device", flags->device, "Of both engines: cpu, cuda or emulated")
          ->check(CLI::IsMember({"cpu", "cuda", "emulated"}));
  command->add_option("--config", a->file, "Configuration file (JSON)");
  command->allow_extras();
  command->callback([=] {
    a->flags = command->remaining();
    if (*model) a->flags.push_back(absl::StrCat("--model=", flags->model));
    if (*port) a->flags.push_back(absl::StrCat("--gateway.port=", flags->port));
    if (*device) {
      a->flags.push_back(absl::StrCat("--prefill.device=", flags->device));
      a->flags.push_back(absl::StrCat("--decode.device=", flags->device));
    }
    if (*threads) {
      a->flags.push_back(absl::StrCat("--prefill.threads=", flags->threads));
      a->flags.push_back(absl::StrCat("--decode.threads=", flags->threads));
    }
    *run = [a] { return Run(*a); };
  });
}

}  // namespace lynx
