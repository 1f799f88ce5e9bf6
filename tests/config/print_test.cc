#include "config/print.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "config/fields.h"

namespace lynx {
namespace {

const std::string kRoot = LYNX_SOURCE_DIR;
constexpr char kReferenceMark[] = "<!-- Below: made from config/fields*.cc. -->\n";

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
}

absl::StatusOr<LoadedConfig> LoadText(const std::string& text) {
  ConfigSources sources;
  sources.file_name = "f";
  sources.file_text = text;
  return LoadConfig(sources);
}

absl::StatusOr<LoadedConfig> LoadShipped(const std::string& name) {
  return LoadText(ReadFile(kRoot + "/config/" + name));
}

// The values without their origins.
std::string Values(const LoadedConfig& loaded) {
  LoadedConfig copy = loaded;
  for (auto& [path, origin] : copy.origins) origin = "-";
  return DumpConfig(copy);
}

}  // namespace

TEST_CASE("config/lynx.json shows every option at its default") {
  CHECK(ReadFile(kRoot + "/config/lynx.json") == ConfigTemplate());
  const absl::StatusOr<LoadedConfig> shipped = LoadShipped("lynx.json");
  REQUIRE(shipped.ok());
  CHECK(Values(*shipped) == Values(*LoadConfig({})));
  for (const auto& [path, origin] : shipped->origins) CHECK(origin != "default");
}

TEST_CASE("the files for a pair of machines load and fit each other") {
  const absl::StatusOr<LoadedConfig> prefill = LoadShipped("pair-prefill.json");
  const absl::StatusOr<LoadedConfig> decode = LoadShipped("pair-decode.json");
  INFO(prefill.status() << decode.status());
  REQUIRE((prefill.ok() && decode.ok()));
  CHECK(prefill->config.model == decode->config.model);
  CHECK(prefill->config.kv.target == decode->config.kv.target);
  CHECK(decode->config.pools.prefill[0] ==
        prefill->config.prefill.data_host + ":" + std::to_string(prefill->config.prefill.port));
  CHECK(decode->config.pools.decode[0] ==
        "127.0.0.1:" + std::to_string(decode->config.decode.port));
}

TEST_CASE("docs/configuration.md describes the options as they are") {
  const std::string text = ReadFile(kRoot + "/docs/configuration.md");
  const size_t mark = text.find(kReferenceMark);
  REQUIRE(mark != std::string::npos);
  CHECK(text.substr(mark + sizeof(kReferenceMark) - 1) == "\n" + ConfigReference());
}

// Run with "[.write]" after a change of config/fields*.cc.
TEST_CASE("write config/lynx.json and docs/configuration.md", "[.write]") {
  WriteFile(kRoot + "/config/lynx.json", ConfigTemplate());
  const std::string path = kRoot + "/docs/configuration.md";
  const std::string text = ReadFile(path);
  const size_t mark = text.find(kReferenceMark);
  REQUIRE(mark != std::string::npos);
  WriteFile(path, text.substr(0, mark) + kReferenceMark + "\n" + ConfigReference());
}

TEST_CASE("a dump is a config file with the same values, and tells origins") {
  ConfigSources sources;
  sources.flags = {"--kv.anchor_bits.k=6", "--gateway.served_model_names=a\"b,\xc3\xa9",
                   "--transfer.link_rate_mbit=0.1"};
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(sources);
  REQUIRE(loaded.ok());
  const std::string dump = DumpConfig(*loaded);
  CHECK_THAT(dump, Catch::Contains("\"k\": 6,  // flag --kv.anchor_bits.k\n"));
  CHECK_THAT(dump, Catch::Contains("\"v\": 4  // default\n"));
  const absl::StatusOr<LoadedConfig> again = LoadText(dump);
  REQUIRE(again.ok());
  CHECK(Values(*again) == Values(*loaded));
}

TEST_CASE("names of fields are unique in every form, and help is whole sentences") {
  Config config;
  std::set<std::string> names;
  for (const Field& field : DescribeFields(config)) {
    CHECK(names.insert(field.path).second);
    CHECK(names.insert(EnvironmentName(field.path)).second);
    CHECK(field.help.size() > 10);
    CHECK(field.help.back() == '.');
    CHECK(field.help.find('|') == std::string::npos);
  }
}

TEST_CASE("the schema describes the shipped files") {
  const nlohmann::json schema = nlohmann::json::parse(ConfigSchema());
  CHECK(schema["additionalProperties"] == false);
  Config config;
  for (const Field& field : DescribeFields(config)) {
    INFO(field.path);
    const nlohmann::json* node = &schema;
    for (const std::string& part : PathParts(field.path)) {
      REQUIRE((*node)["type"] == "object");
      REQUIRE((*node)["additionalProperties"] == false);
      node = &(*node)["properties"].at(part);
    }
    CHECK(node->at("description") == field.help);
    CHECK(node->contains("default"));
    if (!field.choices.empty()) CHECK(node->at("enum").size() == field.choices.size());
  }
  CHECK(schema["properties"]["gateway"]["properties"]["port"]["maximum"] == 65535);
  CHECK(schema["properties"]["transfer"]["properties"]["link_rate_mbit"]["type"] == "number");
  CHECK(schema["properties"]["pools"]["properties"]["decode"]["items"]["type"] == "string");
}

}  // namespace lynx
