#include "gateway/openai_request.h"

#include <catch2/catch.hpp>

#include "gateway/api_error.h"
#include "model/row_sampling.h"

namespace lynx {
namespace {

const RequestLimits kLimits;

// The parameter that the error names; "" none; "(ok)" if there is no error.
std::string CompletionParam(const std::string& extra) {
  const auto r = ParseCompletionRequest(
      R"({"prompt":"x")" + (extra.empty() ? "" : "," + extra) + "}", kLimits);
  return r.ok() ? "(ok)" : ToApiError(r.status(), 1).param;
}
std::string ChatParam(const std::string& extra) {
  const auto r = ParseChatRequest(
      R"({"messages":[{"role":"user","content":"x"}])" + (extra.empty() ? "" : "," + extra) + "}",
      kLimits);
  return r.ok() ? "(ok)" : ToApiError(r.status(), 1).param;
}

struct Row {
  const char* extra;
  const char* param;
};

}  // namespace

TEST_CASE("fields that both endpoints share") {
  const Row rows[] = {
      {"", "(ok)"},
      {R"("whatever":{"a":[1]},"user":"me","store":true)", "(ok)"},
      {R"("temperature":null,"stop":null,"n":null,"seed":null,"max_tokens":null,"lynx":null)",
       "(ok)"},
      {R"("temperature":0)", "(ok)"},
      {R"("temperature":2.5)", "temperature"},
      {R"("temperature":-0.1)", "temperature"},
      {R"("temperature":"hot")", "temperature"},
      {R"("temperature":true)", "temperature"},
      {R"("top_p":0)", "top_p"},
      {R"("top_p":1.01)", "top_p"},
      {R"("top_k":-1)", "(ok)"},
      {R"("top_k":-2)", "top_k"},
      {R"("top_k":1.5)", "top_k"},
      {R"("min_p":0.1,"repetition_penalty":1.1,"presence_penalty":-2,"frequency_penalty":2)",
       "(ok)"},
      {R"("repetition_penalty":0)", "repetition_penalty"},
      {R"("presence_penalty":3)", "presence_penalty"},
      {R"("n":0)", "n"},
      {R"("n":129)", "n"},
      {R"("n":2,"best_of":2)", "(ok)"},
      {R"("n":1,"best_of":2)", "best_of"},
      {R"("seed":-5)", "(ok)"},
      {R"("seed":1e30)", "seed"},
      {R"("seed":18446744073709551615)", "seed"},
      {R"("stop":"a")", "(ok)"},
      {R"("stop":["a","b"])", "(ok)"},
      {R"("stop":[])", "(ok)"},
      {R"("stop":"")", "stop"},
      {R"("stop":[1])", "stop"},
      {R"("stop":{"a":1})", "stop"},
      {R"("stop_token_ids":[1,2])", "(ok)"},
      {R"("stop_token_ids":[-1])", "stop_token_ids"},
      {R"("stop_token_ids":5)", "stop_token_ids"},
      {R"("logit_bias":{"5":-100})", "(ok)"},
      {R"("logit_bias":{"5":-101})", "logit_bias"},
      {R"("logit_bias":{"x":1})", "logit_bias"},
      {R"("logit_bias":{"-1":1})", "logit_bias"},
      {R"("logit_bias":[1])", "logit_bias"},
      {R"("max_tokens":5,"min_tokens":6)", "min_tokens"},
      {R"("max_tokens":0)", "max_tokens"},
      {R"("max_tokens":-1)", "max_tokens"},
      {R"("max_tokens":99999999999999999999)", "max_tokens"},
      {R"("ignore_eos":1)", "ignore_eos"},
      {R"("stream":"yes")", "stream"},
      {R"("stream_options":{"include_usage":true})", "stream_options"},
      {R"("stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true})",
       "(ok)"},
      {R"("stream":true,"stream_options":{"include_usage":1})", "stream_options.include_usage"},
      {R"("suffix":"abc")", "suffix"},
      {R"("suffix":"")", "(ok)"},
      {R"("tools":[{"type":"function"}])", "tools"},
      {R"("tools":[])", "(ok)"},
      {R"("tool_choice":"required")", "tool_choice"},
      {R"("response_format":{"type":"text"})", "(ok)"},
      {R"("response_format":{"type":"json_object"})", "response_format"},
      {R"("response_format":"json")", "response_format"},
      {R"("guided_json":{"type":"object"})", "guided_json"},
      {R"("use_beam_search":false)", "(ok)"},
      {R"("use_beam_search":true)", "use_beam_search"},
      {R"("lynx":{"emission":"verified","stats":true})", "(ok)"},
      {R"("lynx":{"emission":"speculative"})", "lynx.emission"},
      {R"("stream":true,"lynx":{"emission":"speculative"})", "(ok)"},
      {R"("stream":true,"lynx":{"emission":"confident"})", "lynx.emission"},
      {R"("lynx":{"emission":"maybe"})", "lynx.emission"},
      {R"("lynx":{"stats":"yes"})", "lynx.stats"},
      {R"("lynx":[])", "lynx"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.extra);
    CHECK(CompletionParam(row.extra) == row.param);
    CHECK(ChatParam(row.extra) == row.param);
  }
}

TEST_CASE("lists are no longer than servers take") {
  const auto ids = [](int64_t count) {
    std::string list = "\"stop_token_ids\":[0";
    for (int64_t i = 1; i < count; ++i) list += ",7";
    return list + "]";
  };
  const auto biases = [](int64_t count) {
    std::string map = "\"logit_bias\":{\"0\":1";
    for (int64_t i = 1; i < count; ++i) map += ",\"" + std::to_string(i) + "\":-1";
    return map + "}";
  };
  CHECK(CompletionParam(ids(kLimits.max_stop_ids)) == "(ok)");
  CHECK(CompletionParam(ids(kLimits.max_stop_ids + 1)) == "stop_token_ids");
  CHECK(ChatParam(ids(kLimits.max_stop_ids + 1)) == "stop_token_ids");
  CHECK(CompletionParam(biases(kLimits.max_logit_biases)) == "(ok)");
  CHECK(CompletionParam(biases(kLimits.max_logit_biases + 1)) == "logit_bias");
  CHECK(ChatParam(biases(kLimits.max_logit_biases + 1)) == "logit_bias");
  // A server takes what the gateway lets through.
  CHECK(kLimits.max_stop_ids == kStopIdsMax);
  CHECK(kLimits.max_logit_biases == kLogitBiasesMax);
}

TEST_CASE("log-probabilities by endpoint") {
  CHECK(CompletionParam(R"("logprobs":1,"echo":true,"max_tokens":0)") == "(ok)");
  CHECK(CompletionParam(R"("logprobs":21)") == "logprobs");
  CHECK(CompletionParam(R"("logprobs":-1)") == "logprobs");
  CHECK(ChatParam(R"("logprobs":true,"top_logprobs":20)") == "(ok)");
  CHECK(ChatParam(R"("top_logprobs":2)") == "top_logprobs");
  CHECK(ChatParam(R"("logprobs":1)") == "logprobs");
  const char* speculative = R"("stream":true,"lynx":{"emission":"speculative"},"logprobs":)";
  CHECK(CompletionParam(speculative + std::string("1")) == "logprobs");
  CHECK(ChatParam(speculative + std::string("true")) == "logprobs");
}

TEST_CASE("prompts in four forms") {
  const auto parse = [](const std::string& prompt) {
    return ParseCompletionRequest("{\"prompt\":" + prompt + "}", kLimits);
  };
  CHECK(std::get<std::string>(parse(R"("hi")")->prompts.at(0)) == "hi");
  CHECK(parse(R"(["a","b"])")->prompts.size() == 2);
  CHECK(std::get<std::vector<int32_t>>(parse("[1,2,3]")->prompts.at(0)) ==
        std::vector<int32_t>{1, 2, 3});
  CHECK(parse("[[1],[2,3]]")->prompts.size() == 2);
  for (const char* bad : {"[]", "5", "{}", "[1,\"a\"]", "[[1],[\"a\"]]", "[true]", "[-1]", "[1.5]",
                          "[4294967296]", "null"}) {
    CAPTURE(bad);
    CHECK(ToApiError(parse(bad).status(), 1).param == "prompt");
  }
  std::string many = "[\"a\"";
  for (int i = 0; i < 128; ++i) many += ",\"a\"";
  CHECK_FALSE(parse(many + "]").ok());
}

TEST_CASE("bodies that are no JSON object") {
  for (const char* bad : {"", "{", "[]", "null", "\"x\"", "{\"prompt\":\"\xFF\"}", "{\"a\":nan}",
                          "{\"prompt\":\"x\"} trailing"}) {
    CAPTURE(bad);
    const auto r = ParseCompletionRequest(bad, kLimits);
    REQUIRE_FALSE(r.ok());
    CHECK(ToApiError(r.status(), 1).http_status == 400);
  }
  const std::string deep(100000, '[');
  CHECK_FALSE(ParseCompletionRequest("{\"a\":" + deep, kLimits).ok());
}

TEST_CASE("messages are checked") {
  const auto parse = [](const std::string& messages) {
    return ParseChatRequest("{\"messages\":" + messages + "}", kLimits);
  };
  const auto ok = parse(R"([
    {"role":"developer","content":"be brief"},
    {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
    {"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"x\":1}"}}]},
    {"role":"tool","tool_call_id":"1"}])");
  REQUIRE(ok.ok());
  CHECK(ok->messages[0]["role"] == "system");
  CHECK(ok->messages[1]["content"].size() == 2);
  CHECK(ok->messages[2]["content"].is_null());
  const Row bad[] = {
      {"[]", "messages"},
      {"\"hi\"", "messages"},
      {"[1]", "messages[0]"},
      {R"([{"content":"x"}])", "messages[0].role"},
      {R"([{"role":"user","content":5}])", "messages[0].content"},
      {R"([{"role":"user","content":[{"type":"image_url"}]}])", "messages[0].content[0]"},
      {R"([{"role":"user","content":[{"type":"text"}]}])", "messages[0].content[0]"},
  };
  for (const Row& row : bad) {
    CAPTURE(row.extra);
    CHECK(ToApiError(parse(row.extra).status(), 1).param == row.param);
  }
}

TEST_CASE("values arrive where they belong") {
  const auto r = ParseChatRequest(
      R"({"model":"m","messages":[{"role":"user","content":"x"}],"temperature":0.5,"top_k":7,"seed":9,
          "max_tokens":3,"max_completion_tokens":4,"stop":"s","logprobs":true,"top_logprobs":2,
          "stream":true,"stream_options":{"include_usage":true},"return_token_ids":true,
          "chat_template_kwargs":{"a":1},"logit_bias":{"3":1.5},"lynx":{"stats":true}})",
      kLimits);
  REQUIRE(r.ok());
  const GenerationFields& f = r->fields;
  CHECK(f.model == "m");
  CHECK(f.sampling.temperature() == 0.5);
  CHECK(f.sampling.top_k() == 7);
  CHECK(f.sampling.logit_bias().at(3) == 1.5);
  CHECK(f.seed == 9);
  CHECK(f.max_tokens == 4);
  CHECK(f.stops == std::vector<std::string>{"s"});
  CHECK(f.logprobs == 2);
  CHECK((f.stream && f.include_usage && f.return_token_ids && f.stats));
  CHECK(r->template_kwargs["a"] == 1);
}

TEST_CASE("tokenize and detokenize") {
  CHECK(ParseTokenizeRequest(R"({"prompt":"x","add_special_tokens":false})").ok());
  CHECK(ParseTokenizeRequest(R"({"messages":[{"role":"user","content":"x"}]})").ok());
  CHECK_FALSE(ParseTokenizeRequest(R"({})").ok());
  CHECK_FALSE(ParseTokenizeRequest(R"({"prompt":["x"]})").ok());
  CHECK_FALSE(
      ParseTokenizeRequest(R"({"prompt":"x","messages":[{"role":"user","content":"x"}]})").ok());
  CHECK(ParseDetokenizeRequest(R"({"tokens":[1]})")->tokens == std::vector<int32_t>{1});
  CHECK_FALSE(ParseDetokenizeRequest(R"({"tokens":"x"})").ok());
  CHECK_FALSE(ParseDetokenizeRequest(R"({})").ok());
}

}  // namespace lynx
