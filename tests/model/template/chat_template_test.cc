#include "model/template/chat_template.h"

#include <catch2/catch.hpp>

namespace lynx {
namespace {

using Json = nlohmann::ordered_json;

ChatInput UserSays(const Json& content) {
  ChatInput input;
  input.messages = Json::array({{{"role", "user"}, {"content", content}}});
  return input;
}

ChatTemplate Parse(const std::string& source) {
  auto t = ChatTemplate::Parse(source);
  INFO(t.status().ToString());
  REQUIRE(t.ok());
  return *t;
}

// Spans as "T(...)" for template text and "U(...)" for text from messages.
std::string Spans(const std::string& source, const Json& content) {
  auto spans = Parse(source).Render(UserSays(content));
  if (!spans.ok()) return std::string(spans.status().message());
  std::string out;
  for (const PromptSpan& s : *spans) out += (s.from_user ? "U(" : "T(") + s.text + ")";
  return out;
}

TEST_CASE("the origin of text survives string operations", "[template]") {
  const std::string c = "messages[0].content";
  CHECK(Spans("<a>{{ " + c + " }}<b>", "<b>") == "T(<a>)U(<b>)T(<b>)");
  CHECK(Spans("{{ '<a>' + " + c + " + '<b>' }}", "x") == "T(<a>)U(x)T(<b>)");
  CHECK(Spans("{{ ('<a>' ~ " + c + ")[2:] | trim }}", " xyz ") == "T(>)U( xyz)");
  CHECK(Spans("{{ " + c + " | replace('-', '<s>') | upper }}", "a-b") == "U(A)T(<S>)U(B)");
  CHECK(Spans("{{ " + c + ".split(',') | join('|') }}", "a,b") == "U(a)T(|)U(b)");
  CHECK(Spans("{{ [" + c + "] | tojson }}", "a\"<s>") == "T([\")U(a\\\"<s>)T(\"])");
  CHECK(Spans("{{ [" + c + "] }}", "a'b") == "T([\")U(a'b)T(\"])");
  CHECK(Spans("{{ " + c + " | reverse }}{{ 'ab' * 2 }}", "xy") == "U(yx)T(abab)");
  CHECK(Spans("{% set x %}<{{ " + c + " }}>{% endset %}{{ x.title() }}", "ab") == "T(<)U(Ab)T(>)");
  CHECK(Spans("{% macro m(t) %}[{{ t }}]{% endmacro %}{{ m(" + c + ") }}", "q") == "T([)U(q)T(])");
  CHECK(Spans("{{ '%s!' | format(" + c + ") }}", "q") == "U(q)T(!)");
  CHECK(Spans("{{ " + c + " | indent(2, true) }}", "a\nb") == "T(  )U(a)T(\n  )U(b)");
}

TEST_CASE("content is brought into the form that the template handles", "[template]") {
  const Json parts =
      Json::array({{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}});
  const std::string plain = "{{ messages[0].content + '.' }}";
  const std::string loops =
      "{% for m in messages %}{% for p in m['content'] %}[{{ p.text }}]{% endfor %}{% endfor %}";
  CHECK(Spans(plain, parts) == "U(a\nb)T(.)");
  CHECK(Spans(plain, nullptr) == "T(.)");
  CHECK(Spans(loops, parts) == "T([)U(a)T(][)U(b)T(])");
  CHECK(Spans(loops, "s") == "T([)U(s)T(])");
  CHECK(Spans("{{ messages[0].content is none }}", nullptr) == "T(True)");
  const Json image = Json::array({{{"type", "image_url"}, {"image_url", {}}}});
  CHECK(Spans(plain, image).find("'image_url' are not supported") != std::string::npos);
  CHECK(Spans(plain, 5).find("content must be") != std::string::npos);
}

TEST_CASE("tool call arguments in a string become an object", "[template]") {
  ChatInput input;
  input.messages = Json::parse(
      R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}])");
  CHECK(*Parse("{{ messages[0].tool_calls[0].function.arguments | tojson }}").RenderText(input) ==
        "{\"a\": 1}");
}

TEST_CASE("errors carry the line and the template's own message", "[template]") {
  CHECK(Spans("a\nb\n{{ raise_exception('no ' ~ messages[0].role) }}", "x") ==
        "chat template, line 3: no user");
  auto bad = ChatTemplate::Parse("x\n{% if a %}\n{{ a | nope }}{% endif %}");
  CHECK(bad.status().message() == "chat template, line 3: unknown filter 'nope'");
  CHECK(bad.status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("what is not supported is refused when the template is loaded", "[template]") {
  for (const char* source :
       {"{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}",
        "{% block b %}{% endblock %}", "{% autoescape true %}{% endautoescape %}",
        "{% if false %}{{ x | nope }}{% endif %}", "{{ x | map('nope') }}",
        "{{ x | select('nope') }}", "{{ x | selectattr('a', 'nope') }}", "{{ x is nope }}",
        "{{ nope(1) }}", "{{ x.nope() }}", "{{ x.format(1) }}", "{{ x | safe }}",
        "{{ x | escape }}", "{{ x | random }}", "{{ lipsum() }}", "{% do x %}",
        "{% trans %}{% endtrans %}"}) {
    INFO(source);
    CHECK_FALSE(ChatTemplate::Parse(source).ok());
  }
}

TEST_CASE("clients cannot replace the template's own inputs", "[template]") {
  ChatInput input = UserSays("hi");
  input.special_tokens = {{"bos_token", "<s>"}};
  input.extra = {{"bos_token", "evil"}, {"messages", 5}, {"mine", "x"}};
  const auto spans = Parse("{{ bos_token }}{{ messages | length }}{{ mine }}").Render(input);
  REQUIRE(spans.ok());
  REQUIRE(spans->size() == 2);
  CHECK((*spans)[0].text == "<s>1");
  CHECK((*spans)[1].from_user);
}

}  // namespace
}  // namespace lynx
