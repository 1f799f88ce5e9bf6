#include "config/load.h"

#include <catch2/catch.hpp>

#include "config/fields.h"

namespace lynx {
namespace {

ConfigSources File(const std::string& text) {
  ConfigSources sources;
  sources.file_name = "l.json";
  sources.file_text = text;
  return sources;
}

std::string ErrorOf(const ConfigSources& sources) {
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(sources);
  if (loaded.ok()) return "";
  CHECK(loaded.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(loaded.status().message());
}

std::string FileError(const std::string& text) { return ErrorOf(File(text)); }

std::string FlagError(const std::string& flag) {
  ConfigSources sources;
  sources.flags = {flag};
  return ErrorOf(sources);
}

}  // namespace

TEST_CASE("without sources everything is default") {
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig({});
  REQUIRE(loaded.ok());
  CHECK(loaded->config.gateway.port == 8000);
  CHECK(loaded->config.Validate().ok());
  for (const auto& [path, origin] : loaded->origins) CHECK(origin == "default");
}

TEST_CASE("flags win over the environment, it over the file, that over the defaults") {
  ConfigSources sources = File("{\"decode\": {\"threads\": 1, \"port\": 2, \"queue_limit\": 3}}");
  sources.environment = {{"HOME", "/"},
                         {"LYNX_DECODE_PORT", "20"},
                         {"LYNX_DECODE_QUEUE_LIMIT", "30"},
                         {"LYNX_GATEWAY_SERVICE_HOST", "10.0.0.9"}};
  sources.flags = {"--decode.queue_limit=299", "decode.queue_limit=300"};
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(sources);
  REQUIRE(loaded.ok());
  CHECK(loaded->config.decode.threads == 1);
  CHECK(loaded->config.decode.port == 20);
  CHECK(loaded->config.decode.queue_limit == 300);
  CHECK(loaded->config.decode.gap_timeout_ms == 500);
  CHECK(loaded->origins.at("decode.threads") == "file l.json:1");
  CHECK(loaded->origins.at("decode.port") == "environment LYNX_DECODE_PORT");
  CHECK(loaded->origins.at("decode.queue_limit") == "flag --decode.queue_limit");
  CHECK(loaded->origins.at("decode.gap_timeout_ms") == "default");
  REQUIRE(loaded->warnings.size() == 1);
  CHECK_THAT(loaded->warnings[0], Catch::Contains("LYNX_GATEWAY_SERVICE_HOST"));
}

TEST_CASE("values of every kind, from files and as text") {
  ConfigSources sources = File(R"(// a comment
  {
    "model": "m.gguf",  // another
    /* and
       a third */
    "gateway": {"vllm_metrics": false}, "pools": {"decode": ["a:1", "[::1]:2"]},
    "transfer": {"link_rate_mbit": 20},
    "kv": {"target": "bf16", "anchor_bits": {"k": 6, "v": 5}}
  })");
  absl::StatusOr<LoadedConfig> loaded = LoadConfig(sources);
  REQUIRE(loaded.ok());
  CHECK(loaded->config.model == "m.gguf");
  CHECK(!loaded->config.gateway.vllm_metrics);
  CHECK(loaded->config.pools.decode == std::vector<std::string>{"a:1", "[::1]:2"});
  CHECK(loaded->config.transfer.link_rate_mbit == 20.0);
  CHECK(loaded->config.kv.target == "bf16");
  CHECK(loaded->config.kv.anchor_bits.k == 6);
  CHECK(loaded->origins.at("kv.anchor_bits.k") == "file l.json:8");

  sources = {};
  sources.flags = {"--model=x=y",
                   "--gateway.vllm_metrics=false",
                   "--transfer.link_rate_mbit=1.5",
                   "--pools.decode=a:1,b:2",
                   "--gateway.served_model_names=",
                   "--kv.anchor_bits.v=3",
                   "--log.level=debug"};
  loaded = LoadConfig(sources);
  REQUIRE(loaded.ok());
  CHECK(loaded->config.model == "x=y");
  CHECK(!loaded->config.gateway.vllm_metrics);
  CHECK(loaded->config.transfer.link_rate_mbit == 1.5);
  CHECK(loaded->config.pools.decode == std::vector<std::string>{"a:1", "b:2"});
  CHECK(loaded->config.gateway.served_model_names.empty());
  CHECK(loaded->config.kv.anchor_bits.v == 3);
  CHECK(loaded->config.log.level == "debug");
}

TEST_CASE("every field can be set by file, environment and flag") {
  Config defaults;
  for (const Field& field : DescribeFields(defaults)) {
    const bool is_list = std::holds_alternative<std::vector<std::string>*>(field.value);
    const bool is_text = std::holds_alternative<std::string*>(field.value);
    std::string text = std::holds_alternative<bool*>(field.value) ? "true"
                       : is_list                                  ? "h:1"
                       : is_text ? (field.choices.empty() ? "t" : field.choices.back())
                                 : std::to_string(static_cast<int64_t>(field.max));
    std::string json = is_list ? "[\"" + text + "\"]" : is_text ? "\"" + text + "\"" : text;
    const std::vector<std::string> parts = PathParts(field.path);
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      json = "{\"" + *part + "\":" + json + "}";
    }
    INFO(field.path);
    ConfigSources environment, flag;
    environment.environment = {{EnvironmentName(field.path), text}};
    flag.flags = {"--" + field.path + "=" + text};
    // Of the fields' largest values some do not go together; that is the only error allowed.
    for (const ConfigSources& sources : {File(json), environment, flag}) {
      const absl::StatusOr<LoadedConfig> loaded = LoadConfig(sources);
      if (loaded.ok()) {
        CHECK(loaded->origins.at(field.path) != "default");
      } else {
        const std::string message(loaded.status().message());
        CHECK((message.find("must not exceed") != std::string::npos ||
               message.find("moves KV between GPUs") != std::string::npos ||
               message.find("max_batch_rows is") != std::string::npos));
      }
    }
  }
}

TEST_CASE("nccl needs a GPU, and operations that hold frames") {
  CHECK_THAT(FlagError("--transfer.channel=nccl"), Catch::Contains("transfer.channel"));
  CHECK_THAT(FlagError("--transfer.channel=rdma"), Catch::Contains("one of auto, tcp, nccl"));
  ConfigSources sources;
  sources.flags = {"--transfer.channel=nccl", "--decode.device=cuda"};  // a decode machine's
  CHECK(ErrorOf(sources).empty());
  sources.flags.push_back("--transfer.max_frame_kib=16385");
  CHECK_THAT(ErrorOf(sources), Catch::Contains("transfer.nccl.max_operation_mib"));
  sources.flags[0] = "--transfer.channel=tcp";
  CHECK(ErrorOf(sources).empty());
}

TEST_CASE("unknown keys name the line and the nearest key") {
  CHECK(FileError("{\n\"gateway\": {\n\"prot\": 1}}") ==
        "l.json:3: gateway.prot: no such key; the nearest is gateway.port");
  CHECK_THAT(FileError("{\"prefill\": {\"max_batch_rows\": 1}}"),
             Catch::Contains("the nearest is decode.max_batch_rows"));
  CHECK_THAT(FileError("{\"kv\": {\"anchor_bit\": {\"k\": 1}}}"),
             Catch::Contains("kv.anchor_bit: no such key; the nearest is kv.anchor_bits"));
  CHECK_THAT(FileError("{\"modle\": 1}"), Catch::Contains("the nearest is model"));
  CHECK_THAT(FileError("{\"gateway.port\": 1}"), Catch::Contains("no dot"));
  CHECK(FlagError("--decode.treads=1") ==
        "flag --decode.treads: decode.treads: no such key; the nearest is decode.threads");
  CHECK_THAT(FlagError("--decode.threads"), Catch::Contains("--section.key=value"));
  CHECK_THAT(FlagError("--kv=1"), Catch::Contains("no such key"));
  CHECK_THAT(FlagError("--" + std::string(100000, 'x') + "=1"), Catch::Contains("..."));
}

TEST_CASE("wrong types, ranges and choices name line, key and what is allowed") {
  CHECK(FileError("{\"gateway\": {\"port\": \"8000\"}}") ==
        "l.json:1: gateway.port: must be an integer from 0 to 65535, is \"8000\"");
  CHECK_THAT(FileError("{\"gateway\": {\"port\": 1.0}}"), Catch::Contains("must be an integer"));
  CHECK_THAT(FileError("{\"gateway\": {\"port\": null}}"), Catch::Contains("is null"));
  CHECK_THAT(FileError("{\"gateway\": {\"port\": -1}}"), Catch::Contains("is -1"));
  CHECK_THAT(FileError("{\"gateway\": {\"port\": 18446744073709551615}}"),
             Catch::Contains("must be an integer"));
  CHECK_THAT(FileError("{\"gateway\": {\"port\": {\"a\": 1}}}"), Catch::Contains("is an object"));
  CHECK_THAT(FileError("{\"gateway\": 3}"), Catch::Contains("gateway: must be an object"));
  CHECK_THAT(FileError("{\"pools\": {\"decode\": \"a:1\"}}"), Catch::Contains("a list of strings"));
  CHECK_THAT(FileError("{\"pools\": {\"decode\": [1]}}"), Catch::Contains("a list of strings"));
  CHECK_THAT(FileError("{\"kv\": {\"target\": \"int9\"}}"),
             Catch::Contains("one of int8, bf16, int8_whole, int4_whole, bf16_whole"));
  CHECK_THAT(FileError("{\"transfer\": {\"link_rate_mbit\": \"x\"}}"),
             Catch::Contains("a number from 0 to 1000000"));
  CHECK_THAT(FlagError("--transfer.link_rate_mbit=nan"), Catch::Contains("a number"));
  CHECK_THAT(FlagError("--gateway.vllm_metrics=yes"), Catch::Contains("true or false"));
  CHECK_THAT(FlagError("--gateway.port="), Catch::Contains("an integer"));
  CHECK_THAT(FlagError("--gateway.port=99999999999999999999"), Catch::Contains("an integer"));
  CHECK_THAT(FlagError("--kv.memory_mib.decode=16777217"), Catch::Contains("from 1 to 16777216"));
  ConfigSources sources;
  sources.environment = {{"LYNX_GATEWAY_PORT", "tcp://10.0.0.1:8000"}};
  CHECK_THAT(ErrorOf(sources), Catch::Contains("environment LYNX_GATEWAY_PORT: gateway.port"));
}

TEST_CASE("duplicate keys and broken JSON name the line") {
  CHECK(FileError("{\"gateway\": {\"port\": 1,\n\n\"port\": 2}}") ==
        "l.json:3: gateway.port: given twice, first on line 1");
  CHECK_THAT(FileError("{\"kv\": {},\n\"kv\": {}}"),
             Catch::StartsWith("l.json:2: kv: given twice"));
  CHECK_THAT(FileError("{\n\n\"model\": }"), Catch::StartsWith("l.json:3: "));
  CHECK_THAT(FileError("{\"model\": \"a\"\n"), Catch::StartsWith("l.json:2: "));
  CHECK_THAT(FileError("{\"model\": \"a\"\n}\n}"), Catch::StartsWith("l.json:3: "));
  CHECK_THAT(FileError("{\"model\": \"\xff\"}"), Catch::Contains("UTF-8"));
  CHECK_THAT(FileError("{\"transfer\": {\"link_rate_mbit\": 1e999}}"), Catch::Contains("overflow"));
  CHECK_THAT(FileError(""), Catch::StartsWith("l.json:1: "));
  CHECK_THAT(FileError("[1]"), Catch::Contains("must be an object"));
  CHECK_THAT(FileError("3"), Catch::Contains("must be an object"));
  CHECK_THAT(FileError("{\"a\": [[1]]}"), Catch::Contains("no lists"));
  CHECK_THAT(FileError("{\"a\": [{}]}"), Catch::Contains("no objects"));
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  CHECK_THAT(FileError(deep), Catch::Contains("too deeply"));
  CHECK_THAT(FileError(std::string(2 << 20, ' ')), Catch::Contains("at most"));
}

TEST_CASE("all errors are told at once, up to a limit") {
  const std::string error = FileError("{\"gateway\": {\"port\": -1,\n\"prot\": 1},\n\"log\": 1}");
  CHECK(std::count(error.begin(), error.end(), '\n') == 2);
  std::string many = "{\"x0\": 1";
  for (int i = 1; i < 100; ++i) many += ", \"x" + std::to_string(i) + "\": 1";
  const std::string limited = FileError(many + "}");
  CHECK(std::count(limited.begin(), limited.end(), '\n') == 19);
}

TEST_CASE("what must fit together is checked, with the origin of the key") {
  CHECK(FlagError("--speculation.max_draft_tokens=256") ==
        "speculation.max_draft_tokens (flag --speculation.max_draft_tokens): needs 257 rows for a "
        "verification; decode.max_batch_rows is 256");
  CHECK(FlagError("--speculation.max_draft_tokens=255").empty());
  CHECK_THAT(FlagError("--transfer.min_frame_kib=5000"), Catch::Contains("max_frame_kib"));
  CHECK_THAT(FlagError("--pools.decode="), Catch::Contains("at least one"));
  for (const char* bad :
       {"host", ":80", "host:", "host:0", "host:65536", "host:1x", "host:-1", "dns:///a.b:1"}) {
    CHECK_THAT(FlagError(std::string("--pools.prefill=") + bad), Catch::Contains("host:port"));
  }
  CHECK(FlagError("--pools.prefill=a.b.svc.cluster.local:1,[::1]:2").empty());
  CHECK_THAT(FlagError("--prefill.data_port=8101"), Catch::Contains("must differ"));
  CHECK_THAT(FlagError("--prefill.metrics_port=8102"), Catch::Contains("must differ"));
  CHECK_THAT(FlagError("--decode.metrics_port=8201"), Catch::Contains("must differ"));
  CHECK_THAT(FlagError("--decode.listen_address="), Catch::Contains("must be an address"));
  CHECK_THAT(FlagError("--gateway.served_model_names=a,,b"), Catch::Contains("empty name"));
}

TEST_CASE("Validate checks what was set in code") {
  Config config;
  CHECK(config.Validate().ok());
  config.kv.anchor_bits.k = 8;
  config.kv.target = "x";
  config.transfer.min_frame_kib = 9999;
  const std::string message(config.Validate().message());
  CHECK_THAT(message, Catch::Contains("kv.anchor_bits.k: must be an integer from 3 to 7, is 8"));
  CHECK_THAT(message, Catch::Contains("kv.target"));
  CHECK_THAT(message, Catch::Contains("transfer.min_frame_kib"));
}

TEST_CASE("sources come from a file and the process' environment") {
  const char* const environment[] = {"LYNX_LOG_LEVEL=warn", "broken", "LYNX_MODEL=a=b", nullptr};
  const std::string path = std::string(LYNX_SOURCE_DIR) + "/config/lynx.json";
  const absl::StatusOr<ConfigSources> sources = ReadConfigSources(path, environment, {"--x=1"});
  REQUIRE(sources.ok());
  CHECK(sources->file_name == path);
  CHECK(sources->file_text.size() > 1000);
  CHECK(sources->environment.size() == 2);
  CHECK(sources->environment[1].second == "a=b");
  CHECK(sources->flags.size() == 1);
  const auto missing = ReadConfigSources("/nowhere/x.json", environment, {});
  CHECK_THAT(std::string(missing.status().message()), Catch::Contains("/nowhere/x.json"));
  CHECK(ReadConfigSources("", environment, {})->file_name.empty());
}

}  // namespace lynx
