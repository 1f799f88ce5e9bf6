#include "cli/up_plan.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace lynx {
namespace {

LoadedConfig Load(const std::vector<std::string>& flags) {
  ConfigSources sources;
  sources.flags = flags;
  absl::StatusOr<LoadedConfig> loaded = LoadConfig(sources);
  INFO(loaded.status());
  REQUIRE(loaded.ok());
  return *std::move(loaded);
}

// What a child sees, as it would load it.
Config ConfigOf(const ChildSpec& child) {
  return Load(std::vector<std::string>(child.command.begin() + 1, child.command.end())).config;
}

}  // namespace

TEST_CASE("the processes of a plan find each other on loopback") {
  const std::vector<std::string> flags = {"--gateway.port=0", "--kv.target=bf16", "--model=m.gguf"};
  const auto plan = MakeUpPlan(Load(flags), "", flags, "/opt/lynx/bin");
  INFO(plan.status());
  REQUIRE(plan.ok());
  REQUIRE(plan->children.size() == 3);
  CHECK(plan->children[0].command[0] == "/opt/lynx/bin/lynx-gateway");
  CHECK(plan->children[1].command[0] == "/opt/lynx/bin/lynx-decode");
  CHECK(plan->children[2].command[0] == "/opt/lynx/bin/lynx-prefill");
  const Config gateway = ConfigOf(plan->children[0]);
  CHECK(gateway.gateway.port == plan->port);
  CHECK(plan->port != 0);
  CHECK(plan->host == "127.0.0.1");
  for (const ChildSpec& child : plan->children) {
    const Config config = ConfigOf(child);
    CHECK(config.model == "m.gguf");
    CHECK(config.kv.target == "bf16");
    CHECK(gateway.pools.decode == std::vector{"127.0.0.1:" + std::to_string(config.decode.port)});
    CHECK(gateway.pools.prefill == std::vector{"127.0.0.1:" + std::to_string(config.prefill.port)});
    std::vector<int64_t> ports = {config.gateway.port,         config.decode.port,
                                  config.decode.metrics_port,  config.prefill.port,
                                  config.prefill.metrics_port, config.prefill.data_port};
    std::sort(ports.begin(), ports.end());
    CHECK(std::unique(ports.begin(), ports.end()) == ports.end());
  }
}

TEST_CASE("configured inner ports are kept, and a taken one is named") {
  const auto taken = PortReservation::Reserve("127.0.0.1", 0);
  REQUIRE(taken.ok());
  const std::string port = std::to_string(taken->port());
  const std::vector<std::string> flags = {"--gateway.port=0", "--decode.port=" + port};
  // Reserved, but nobody listens: it can be shared.
  const auto plan = MakeUpPlan(Load(flags), "", flags, "/");
  REQUIRE(plan.ok());
  CHECK(ConfigOf(plan->children[1]).decode.port == taken->port());
  const std::vector<std::string> off = {"--gateway.port=0", "--decode.metrics_port=-1"};
  CHECK(ConfigOf(MakeUpPlan(Load(off), "", off, "/")->children[1]).decode.metrics_port == -1);
  const std::vector<std::string> bad = {"--gateway.listen_address=192.0.2.1"};
  const auto refused = MakeUpPlan(Load(bad), "", bad, "/");
  CHECK(std::string(refused.status().message()).find("gateway.port") != std::string::npos);
}

TEST_CASE("roles that share a GPU take TCP, unless they were told to take NCCL") {
  const auto plan_for = [](std::vector<std::string> flags) {
    flags.insert(flags.end(),
                 {"--gateway.port=0", "--prefill.device=cuda", "--decode.device=cuda"});
    return MakeUpPlan(Load(flags), "", flags, "/");
  };
  const auto shared = plan_for({});
  REQUIRE(shared.ok());
  CHECK(shared->note.find("share GPU 0") != std::string::npos);
  for (const ChildSpec& child : shared->children) {
    CHECK(ConfigOf(child).transfer.channel == "tcp");
  }
  const auto apart = plan_for({"--decode.gpu=1"});
  REQUIRE(apart.ok());
  CHECK(apart->note.empty());
  CHECK(ConfigOf(apart->children[1]).transfer.channel == "auto");
  const auto refused = plan_for({"--transfer.channel=nccl"});
  CHECK(absl::IsInvalidArgument(refused.status()));
  CHECK(std::string(refused.status().message()).find("decode.gpu") != std::string::npos);
  CHECK(plan_for({"--transfer.channel=tcp"})->note.empty());
  CHECK(plan_for({"--transfer.channel=nccl", "--prefill.gpu=1"}).ok());
}

}  // namespace lynx
