// Renders what tests/tools/make_template_goldens.py rendered with python jinja2.
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "model/template/chat_template.h"
#include "model/template/json_values.h"

namespace lynx {
namespace {

using Json = nlohmann::ordered_json;

std::string ReadFile(const std::string& name) {
  std::ifstream in(std::string(LYNX_TEST_DATA) + "/template/" + name, std::ios::binary);
  REQUIRE(in.good());
  std::stringstream buffer;
  buffer << in.rdbuf();
  return buffer.str();
}

// The time that the goldens were made with: 2025-03-07 14:05:09, a Friday.
std::tm GoldenTime() {
  std::tm t = {};
  t.tm_year = 125, t.tm_mon = 2, t.tm_mday = 7, t.tm_hour = 14, t.tm_min = 5, t.tm_sec = 9;
  t.tm_wday = 5, t.tm_yday = 65;
  return t;
}

absl::StatusOr<std::string> RenderConstruct(const std::string& source,
                                            const jinja::Variables& variables) {
  absl::StatusOr<jinja::Template> t = jinja::Template::Parse(source);
  if (!t.ok()) return t.status();
  absl::StatusOr<jinja::Text> text = t->Render(variables, GoldenTime());
  if (!text.ok()) return text.status();
  return text->str();
}

std::string Outcome(const absl::StatusOr<std::string>& s) {
  return s.ok() ? "text: " + *s : "error: " + std::string(s.status().message());
}

TEST_CASE("constructs render as jinja2 renders them", "[template]") {
  const Json data = Json::parse(ReadFile("constructs.json"));
  jinja::Variables variables;
  for (const auto& [name, json] : data["vars"].items()) {
    auto v = jinja::FromJson(json, true);
    REQUIRE(v.ok());
    variables[name] = *v;
  }
  CHECK(data["cases"].size() >= 400);
  for (const Json& c : data["cases"]) {
    const std::string source = c["source"];
    const auto got = RenderConstruct(source, variables);
    INFO(source << "\n" << Outcome(got));
    if (c.contains("error")) {
      INFO(c["error"]);
      CHECK_FALSE(got.ok());
      if (!got.ok()) CHECK(std::string(got.status().message()).find("line ") == 0);
    } else {
      CHECK(Outcome(got) == "text: " + c["text"].get<std::string>());
    }
  }
}

TEST_CASE("chats render as jinja2 renders them", "[template]") {
  const Json cases = Json::parse(ReadFile("chats.json"));
  CHECK(cases.size() >= 300);
  for (const Json& c : cases) {
    const std::string name = c["template"];
    auto t = ChatTemplate::Parse(ReadFile("templates/" + name + ".jinja"));
    REQUIRE(t.ok());
    ChatInput input;
    input.messages = c["messages"];
    input.tools = c["tools"];
    input.extra = c["extra"];
    input.add_generation_prompt = c["add_generation_prompt"];
    input.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    input.now = GoldenTime();
    const auto got = t->RenderText(input);
    INFO(name << " " << c["set"] << " tools " << !c["tools"].is_null());
    INFO(Outcome(got));
    if (c.contains("error")) {
      CHECK_FALSE(got.ok());
    } else {
      CHECK(Outcome(got) == "text: " + c["text"].get<std::string>());
    }
  }
}

}  // namespace
}  // namespace lynx
