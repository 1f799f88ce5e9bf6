#include "cli/up_plan.h"

#include <chrono>
#include <utility>

#include "proto/role_options.h"

namespace lynx {
namespace {

const char kLoopback[] = "127.0.0.1";

// Behind a role's own drain time, until it is killed.
constexpr std::chrono::seconds kStopSlack{5};

// The address to reach a server at that listens on `listen`.
std::string ReachableHost(const std::string& listen) {
  if (listen == "0.0.0.0") return kLoopback;
  if (listen == "::") return "::1";
  return listen;
}

class Planner {
 public:
  Planner(const LoadedConfig& loaded, const std::string& config_file,
          const std::vector<std::string>& flags, const std::string& program_folder)
      : loaded_(loaded), program_folder_(program_folder) {
    if (!config_file.empty()) common_ = {"--config", config_file};
    common_.insert(common_.end(), flags.begin(), flags.end());
  }

  absl::StatusOr<UpPlan> Plan() {
    const Config& config = loaded_.config;
    RETURN_IF_ERROR(SetChannel());
    ASSIGN_OR_RETURN(const int64_t prefill, InnerPort("prefill.port", config.prefill.port));
    ASSIGN_OR_RETURN(const int64_t data, InnerPort("prefill.data_port", config.prefill.data_port));
    ASSIGN_OR_RETURN(const int64_t decode, InnerPort("decode.port", config.decode.port));
    RETURN_IF_ERROR(SetMetricsPort("prefill.metrics_port", config.prefill.metrics_port));
    RETURN_IF_ERROR(SetMetricsPort("decode.metrics_port", config.decode.metrics_port));
    const std::string& listen = config.gateway.listen_address;
    ASSIGN_OR_RETURN(plan_.port, Reserve("gateway.port", listen, config.gateway.port));
    plan_.host = ReachableHost(listen);

    Set("gateway.port", absl::StrCat(plan_.port));
    Set("pools.decode", JoinHostPort(kLoopback, decode));
    Set("pools.prefill", JoinHostPort(kLoopback, prefill));
    Set("prefill.listen_address", kLoopback);
    Set("prefill.port", absl::StrCat(prefill));
    Set("prefill.data_port", absl::StrCat(data));
    Set("prefill.data_host", kLoopback);
    Set("decode.listen_address", kLoopback);
    Set("decode.port", absl::StrCat(decode));
    // Nobody gets new work while those behind it finish theirs.
    Add("lynx-gateway", config.gateway.drain_timeout_s);
    Add("lynx-decode", config.decode.drain_timeout_s);
    Add("lynx-prefill", config.prefill.drain_timeout_s);
    return std::move(plan_);
  }

 private:
  absl::StatusOr<int64_t> Reserve(const char* name, const std::string& host, int64_t port) {
    absl::StatusOr<PortReservation> reserved = PortReservation::Reserve(host, port);
    if (!reserved.ok()) return Annotate(reserved.status(), name);
    plan_.ports.push_back(*std::move(reserved));
    return plan_.ports.back().port();
  }

  // A default is no wish: two `lynx up` on one machine must not meet.
  absl::StatusOr<int64_t> InnerPort(const char* name, int64_t configured) {
    const bool wished = loaded_.origins.at(name) != "default";
    return Reserve(name, kLoopback, wished ? configured : 0);
  }

  absl::Status SetMetricsPort(const char* name, int64_t configured) {
    if (configured < 0) return absl::OkStatus();  // off
    ASSIGN_OR_RETURN(const int64_t port, InnerPort(name, configured));
    Set(name, absl::StrCat(port));
    return absl::OkStatus();
  }

  // NCCL refuses two processes on one GPU.
  absl::Status SetChannel() {
    const Config& config = loaded_.config;
    const bool share_gpu = config.prefill.device == "cuda" && config.decode.device == "cuda" &&
                           config.prefill.gpu == config.decode.gpu;
    if (!share_gpu || config.transfer.channel == "tcp") return absl::OkStatus();
    const std::string shared = absl::StrCat("prefill and decode share GPU ", config.decode.gpu);
    if (config.transfer.channel == "nccl") {
      return absl::InvalidArgumentError(absl::StrCat(
          "transfer.channel is nccl, which needs a GPU for each role, but ", shared,
          ": set prefill.gpu and decode.gpu to different ones, or transfer.channel=tcp"));
    }
    Set("transfer.channel", "tcp");
    plan_.note =
        absl::StrCat(shared, ": KV moves over TCP, because NCCL needs a GPU for each role");
    return absl::OkStatus();
  }

  void Set(const char* path, const std::string& value) {
    common_.push_back(absl::StrCat("--", path, "=", value));
  }

  void Add(const char* program, int64_t drain_s) {
    ChildSpec spec;
    spec.name = program;
    spec.command = {absl::StrCat(program_folder_, "/", program)};
    spec.command.insert(spec.command.end(), common_.begin(), common_.end());
    spec.stop_limit = std::chrono::seconds(drain_s) + kStopSlack;
    plan_.children.push_back(std::move(spec));
  }

  const LoadedConfig& loaded_;
  const std::string program_folder_;
  std::vector<std::string> common_;
  UpPlan plan_;
};

}  // namespace

absl::StatusOr<UpPlan> MakeUpPlan(const LoadedConfig& loaded, const std::string& config_file,
                                  const std::vector<std::string>& flags,
                                  const std::string& program_folder) {
  return Planner(loaded, config_file, flags, program_folder).Plan();
}

}  // namespace lynx
