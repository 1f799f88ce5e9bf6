// No template and no message may hang the server or fill its memory or stack.
#include <catch2/catch.hpp>

#include "model/template/json_values.h"
#include "model/template/template.h"

namespace lynx::jinja {
namespace {

std::string Fails(const std::string& source) {
  auto t = Template::Parse(source);
  if (!t.ok()) return std::string(t.status().message());
  std::tm now = {};
  auto text = t->Render({}, now);
  return text.ok() ? "ok" : std::string(text.status().message());
}

std::string Repeat(const std::string& s, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

TEST_CASE("rendering stops at its limits", "[template]") {
  for (const char* source : {
           "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
           "{{ 'x' * 99999999999 }}",
           "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
           "endfor %}",
           "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
           "endfor %}",
           "{% set ns = namespace(s=1) %}{% for i in range(999) %}{% set ns.s = [ns.s] %}{% endfor "
           "%}",
           "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
           "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
           "{{ 9223372036854775807 + 1 }}",
           "{{ 'x' | center(99999999999) }}",
           "{{ [1] | tojson(indent=99999999999) }}",
           "{{ 2 ** 9999999 }}",
       }) {
    INFO(source);
    CHECK(Fails(source) != "ok");
  }
}

TEST_CASE("sources nested too deeply or too long are refused", "[template]") {
  for (const char* open :
       {"(", "[", "{1:", "-", "not ", "a.", "a[", "a+", "a~-", "a if a else ", "a("}) {
    INFO(open);
    CHECK(Fails("{{ " + Repeat(open, 100'000)) != "ok");
    CHECK(Fails("{{ a" + Repeat(std::string("+a"), 100'000) + " }}") != "ok");
  }
  CHECK(Fails("{{ a" + Repeat("|upper", 50'000) + " }}") != "ok");
  CHECK(Fails("{{ a" + Repeat(".b", 50'000) + " }}") != "ok");
  CHECK(Fails(Repeat("{% if 1 %}", 50'000)) != "ok");
  CHECK(Fails("{% for " + Repeat("(", 50'000)) != "ok");
  CHECK(Fails(std::string(2 << 20, 'x')) != "ok");
}

TEST_CASE("namespaces may refer to each other", "[template]") {
  CHECK(Fails("{% set a = namespace() %}{% set a.a = a %}{{ a.a.a is defined }}") == "ok");
  CHECK(Fails("{% set ns = namespace(x=1) %}{% for i in range(9999) %}{% set ns.x = "
              "namespace(x=ns.x) %}"
              "{% endfor %}") == "ok");
}

TEST_CASE("JSON beyond the values' range is refused", "[template]") {
  CHECK_FALSE(FromJson(nlohmann::ordered_json(UINT64_MAX), true).ok());
  nlohmann::ordered_json deep = 1;
  for (int i = 0; i < 1000; ++i) deep = nlohmann::ordered_json::array({std::move(deep)});
  CHECK_FALSE(FromJson(deep, true).ok());
}

}  // namespace
}  // namespace lynx::jinja
