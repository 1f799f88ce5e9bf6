// The gateway over real sockets: what is answered.
#include "gateway/server.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "gateway_fixture.h"
#include "model/sampling_noise.h"

namespace lynx {
namespace {

const std::string kChat = "/v1/chat/completions";
const std::string kCompletions = "/v1/completions";

}  // namespace

TEST_CASE("a completion") {
  GatewayFixture gateway(Alphabet);
  const TestReply reply = gateway.Post(kCompletions, R"({"prompt":"xyz","max_tokens":3,"seed":5})");
  REQUIRE(reply.status == 200);
  const auto json = reply.json();
  CHECK(json["object"] == "text_completion");
  CHECK(json["model"] == "fake");
  CHECK(json["seed"] == 5);
  CHECK(json["id"].get<std::string>().rfind("cmpl-", 0) == 0);
  CHECK(json["choices"][0]["text"] == "abc");
  CHECK(json["choices"][0]["finish_reason"] == "length");
  CHECK(json["choices"][0]["logprobs"].is_null());
  CHECK(json["usage"]["prompt_tokens"] == 4);  // with <bos>
  CHECK(json["usage"]["completion_tokens"] == 3);
  CHECK(json["usage"]["total_tokens"] == 7);
}

TEST_CASE("default limits: 16 for completions, what is left of the context for chats") {
  GatewayFixture gateway(Alphabet);
  CHECK(gateway.Post(kCompletions, R"({"prompt":"x"})").json()["usage"]["completion_tokens"] == 16);
  CHECK(gateway.Post(kChat, ChatBody("")).json()["usage"]["total_tokens"] == 100);
  GatewayOptions options;
  options.chat_max_tokens_default = 7;
  GatewayFixture capped(Alphabet, options);
  CHECK(capped.Post(kChat, ChatBody("")).json()["usage"]["completion_tokens"] == 7);
}

TEST_CASE("a chat stream, event by event") {
  GatewayFixture gateway(Alphabet);
  const TestReply reply = gateway.Post(
      kChat, ChatBody(R"("max_tokens":2,"stream":true,"stream_options":{"include_usage":true})"));
  REQUIRE(reply.status == 200);
  CHECK(reply.header("Content-Type") == "text/event-stream");
  std::vector<std::string> events = reply.events();
  REQUIRE(events.size() == 5);
  CHECK(events.back() == "[DONE]");
  events.pop_back();
  std::vector<nlohmann::json> chunks;
  for (const std::string& event : events) chunks.push_back(nlohmann::json::parse(event));
  const char* want[] = {
      R"([{"delta":{"role":"assistant","content":"a"},"finish_reason":null,"index":0,"logprobs":null}])",
      R"([{"delta":{"content":"b"},"finish_reason":null,"index":0,"logprobs":null}])",
      R"([{"delta":{},"finish_reason":"length","index":0,"logprobs":null}])",
      R"([])",
  };
  for (size_t i = 0; i < 4; ++i) {
    CHECK(chunks[i]["object"] == "chat.completion.chunk");
    CHECK(chunks[i]["id"] == chunks[0]["id"]);
    CHECK(chunks[i]["choices"] == nlohmann::json::parse(want[i]));
    CHECK(chunks[i]["usage"].is_null() == (i < 3));
  }
  CHECK(chunks[3]["usage"]["completion_tokens"] == 2);
}

TEST_CASE("log-probabilities as lm-eval reads them") {
  GatewayFixture gateway([](FakeCall& call) {
    CHECK(call.request.prompt_logprobs() == 1);
    CHECK(call.request.prompt().size() == 3);  // no BOS before ids
    v1::GenerateEvent prompt;
    prompt.mutable_prompt_logprobs()->set_first_position(1);
    for (int32_t id : {'b', 'c'}) {
      v1::TokenInfo* token = prompt.mutable_prompt_logprobs()->add_tokens();
      token->set_id(id);
      token->set_logprob(id == 'b' ? -0.1 : -INFINITY);
      v1::TopLogprob* top = token->add_top();
      top->set_id('b');
      top->set_logprob(-0.1);
    }
    call.Send(std::move(prompt));
    v1::GenerateEvent event;
    v1::TokenInfo* token = event.mutable_tokens()->add_tokens();
    token->set_id(FakeTextModel::kEos);
    token->set_logprob(-1.25);
    call.Send(std::move(event));
    call.Finish(v1::FINISH_STOP);
  });
  const TestReply reply = gateway.Post(
      kCompletions, R"({"model":"fake","prompt":[[97,98,99]],"temperature":0,"max_tokens":1,
                        "logprobs":1,"seed":1234,"echo":true})");
  REQUIRE(reply.status == 200);
  const auto choice = reply.json()["choices"][0];
  CHECK(choice["text"] == "abc");
  CHECK(choice["logprobs"] == nlohmann::json::parse(R"({
      "tokens":["a","b","c","<eos>"], "token_logprobs":[null,-0.1,-9999.0,-1.25],
      "top_logprobs":[null,{"b":-0.1},{"b":-0.1,"c":-9999.0},{"<eos>":-1.25}],
      "text_offset":[0,1,2,3]})"));
}

TEST_CASE("max_tokens 0 with echo gives the prompt alone") {
  GatewayFixture gateway(Alphabet);
  const auto json =
      gateway.Post(kCompletions, R"({"prompt":"hey","max_tokens":0,"echo":true})").json();
  CHECK(json["choices"][0]["text"] == "hey");
  CHECK(json["usage"]["completion_tokens"] == 0);
}

TEST_CASE("a list of prompts, n choices each, with derived seeds") {
  std::vector<uint64_t> seeds;
  GatewayFixture gateway([&](FakeCall& call) {
    seeds.push_back(call.request.sampling().seed());
    call.SendText(std::string(1, static_cast<char>(call.request.prompt(1))));
    call.Finish(v1::FINISH_STOP);
  });
  const auto json = gateway.Post(kCompletions, R"({"prompt":["p","q"],"n":2,"seed":7})").json();
  REQUIRE(json["choices"].size() == 4);
  for (int i = 0; i < 4; ++i) {
    CHECK(json["choices"][i]["index"] == i);
    CHECK(json["choices"][i]["text"] == (i < 2 ? "p" : "q"));
  }
  CHECK(json["usage"]["prompt_tokens"] == 4);
  CHECK(seeds == std::vector<uint64_t>{7, DeriveSeed(7, 1), 7, DeriveSeed(7, 1)});
}

TEST_CASE("a drawn seed is returned and is the one that was used") {
  uint64_t used = 0;
  GatewayFixture gateway([&](FakeCall& call) {
    used = call.request.sampling().seed();
    Alphabet(call);
  });
  const auto json = gateway.Post(kChat, ChatBody(R"("max_tokens":1)")).json();
  CHECK(json["seed"] == used);
  CHECK(used < (uint64_t{1} << 53));
}

TEST_CASE("a stop string ends the request and cancels the call") {
  GatewayFixture gateway;
  TestClient client = gateway.Connect();
  client.Send("POST", kChat, ChatBody(R"("stop":["cd"])"));
  const auto call = gateway.decode.NextCall();
  REQUIRE(call != nullptr);
  call->SendText("abcde");
  const auto json = client.Read().json();
  CHECK(json["choices"][0]["message"]["content"] == "ab");
  CHECK(json["choices"][0]["finish_reason"] == "stop");
  CHECK(json["usage"]["completion_tokens"] == 4);
  CHECK(call->WaitUntilCancelled());
}

TEST_CASE("provisional tokens are marked and taken back") {
  GatewayFixture gateway([](FakeCall& call) {
    CHECK(call.request.emission() == v1::EMISSION_SPECULATIVE);
    call.SendText("a");
    v1::GenerateEvent draft;
    draft.mutable_tokens()->set_first_index(1);
    draft.mutable_tokens()->set_provisional(true);
    for (char c : {'b', 'x'}) draft.mutable_tokens()->add_tokens()->set_id(c);
    call.Send(std::move(draft));
    v1::GenerateEvent rollback;
    rollback.set_rollback_to(2);
    call.Send(std::move(rollback));
    call.SendText("bc");
    v1::GenerateStats stats;
    stats.set_drafted(2);
    stats.set_accepted(1);
    call.Finish(v1::FINISH_LENGTH, stats);
  });
  const TestReply reply = gateway.Post(
      kChat, ChatBody(R"("stream":true,"lynx":{"emission":"speculative","stats":true})"));
  std::vector<std::string> seen;
  for (const std::string& event : reply.events()) {
    if (event == "[DONE]") continue;
    const auto json = nlohmann::json::parse(event);
    const auto& delta = json["choices"][0]["delta"];
    seen.push_back(delta.value("content", "-") + " " + json["lynx"].dump());
  }
  REQUIRE(seen.size() == 6);
  CHECK(seen[0] == R"(a {"index":0,"provisional":false})");
  CHECK(seen[1] == R"(b {"index":1,"provisional":true})");
  CHECK(seen[2] == R"(x {"index":2,"provisional":true})");
  CHECK(seen[3] == R"( {"rollback_to":2})");
  CHECK(seen[4] == R"(c {"index":2,"provisional":false})");
  CHECK(seen[5].find(R"("accepted":1)") != std::string::npos);
}

TEST_CASE("errors have their status, their field and their code") {
  GatewayFixture gateway(Alphabet);
  struct Row {
    std::string path, body;
    int status;
    const char *param, *code;
  };
  const std::string long_prompt(100, 'x');
  const Row rows[] = {
      {kChat, "{", 400, nullptr, nullptr},
      {kChat, ChatBody(R"("temperature":9)"), 400, "temperature", nullptr},
      {kChat, R"({"model":"other","messages":[{"role":"user","content":"x"}]})", 404, "model",
       "model_not_found"},
      {kChat, R"({"messages":[{"role":"bad","content":"x"}]})", 400, "messages", nullptr},
      {kCompletions, R"({"prompt":")" + long_prompt + R"("})", 400, "prompt",
       "context_length_exceeded"},
      {kCompletions, R"({"prompt":"x","max_tokens":99})", 400, "prompt", "context_length_exceeded"},
      {kCompletions, R"({"prompt":[300]})", 400, "prompt", nullptr},
      {kCompletions, R"({"prompt":[[]]})", 400, "prompt", nullptr},
      {kCompletions, R"({"prompt":"x","stop_token_ids":[300]})", 400, "stop_token_ids", nullptr},
      {kCompletions, R"({"prompt":"x","logit_bias":{"300":1}})", 400, "logit_bias", nullptr},
      {"/tokenize", R"({})", 400, "prompt", nullptr},
      {"/detokenize", R"({"tokens":[300]})", 400, "tokens", nullptr},
      {"/v2/what", "{}", 404, nullptr, nullptr},
  };
  TestClient client = gateway.Connect();  // the connection lives on through all of them
  for (const Row& row : rows) {
    CAPTURE(row.path, row.body);
    const TestReply reply = client.Call("POST", row.path, row.body);
    REQUIRE(reply.status == row.status);
    const auto error = reply.json()["error"];
    CHECK(error["message"].is_string());
    CHECK(error["param"] == (row.param ? nlohmann::json(row.param) : nlohmann::json()));
    CHECK(error["code"] == (row.code ? nlohmann::json(row.code) : nlohmann::json()));
  }
  CHECK(client.Call("GET", kChat).status == 405);
  CHECK(client.Call("GET", "/v1/models/other").status == 404);
}

TEST_CASE("servers' errors before the first event") {
  struct Row {
    absl::Status status;
    int http;
    bool retry_after;
  };
  const Row rows[] = {
      {absl::InvalidArgumentError("too long"), 400, false},
      {absl::ResourceExhaustedError("full"), 503, true},
      {absl::UnavailableError("gone"), 503, true},
      {absl::DeadlineExceededError("late"), 504, false},
      {absl::InternalError("broken"), 500, false},
      {absl::OkStatus(), 500, false},  // an end without a last event
  };
  for (const Row& row : rows) {
    CAPTURE(row.http);
    GatewayFixture gateway([&](FakeCall& call) { call.End(row.status); });
    const TestReply reply = gateway.Post(kChat, ChatBody(R"("stream":true)"));
    CHECK(reply.status == row.http);
    CHECK(reply.header("Retry-After").empty() == !row.retry_after);
  }
}

TEST_CASE("an error in mid-stream is an event, then the end") {
  GatewayFixture gateway([](FakeCall& call) {
    call.SendText("a");
    call.End(absl::UnavailableError("prefill lost"));
  });
  const auto events = gateway.Post(kChat, ChatBody(R"("stream":true)")).events();
  REQUIRE(events.size() == 3);
  CHECK(nlohmann::json::parse(events[1])["error"]["message"] == "prefill lost");
  CHECK(events[2] == "[DONE]");
}

TEST_CASE("a second decode server is tried once, with the same request") {
  std::vector<std::string> asked;
  const auto refuse = [&](FakeCall& call) {
    asked.push_back(call.request.SerializeAsString());
    call.End(absl::ResourceExhaustedError("full"));
  };
  const auto serve = [&](FakeCall& call) {
    asked.push_back(call.request.SerializeAsString());
    Alphabet(call);
  };
  // Equals take turns: over two requests the refusing server is asked first at least once.
  GatewayFixture gateway(
      {std::make_shared<FakeDecode>(refuse), std::make_shared<FakeDecode>(serve)}, {});
  for (int i = 0; i < 2; ++i) {
    CHECK(gateway.Post(kChat, ChatBody(R"("max_tokens":2)")).status == 200);
  }
  REQUIRE(asked.size() == 3);
  CHECK((asked[0] == asked[1] || asked[1] == asked[2]));
}

TEST_CASE("a server of another identity takes no retry") {
  const auto refuse = [](FakeCall& call) { call.End(absl::UnavailableError("gone")); };
  auto other = std::make_shared<FakeDecode>(Alphabet);
  other->SetInfo(FakeInfo("other weights"));  // and no prefill server goes with it
  GatewayFixture gateway({std::make_shared<FakeDecode>(refuse), other}, {});
  CHECK(gateway.Post(kChat, ChatBody("")).status == 503);
}

TEST_CASE("a model's name may be escaped in a path") {
  GatewayOptions options;
  options.served_model_names = {"org/a model", "50%", "x%2"};
  GatewayFixture gateway(Alphabet, options);
  TestClient client = gateway.Connect();
  const auto id = [&](const char* path) { return client.Call("GET", path).json()["id"]; };
  CHECK(id("/v1/models/org%2Fa%20model") == "org/a model");
  CHECK(id("/v1/models/org%2fa%20model") == "org/a model");
  CHECK(id("/v1/models/50%25") == "50%");
  CHECK(id("/v1/models/50%") == "50%");  // no escape
  CHECK(id("/v1/models/x%2") == "x%2");
  CHECK(client.Call("GET", "/v1/models/org%2Ga%20model").status == 404);
  CHECK(client.Call("GET", "/v1/models/%FF%00").status == 404);
}

TEST_CASE("the other endpoints") {
  GatewayFixture gateway(Alphabet);
  TestClient client = gateway.Connect();
  CHECK(client.Call("GET", "/health").status == 200);
  CHECK(client.Call("GET", "/version").json()["version"].is_string());
  const auto models = client.Call("GET", "/v1/models").json();
  CHECK(models["data"][0]["id"] == "fake");
  CHECK(models["data"][0]["root"] == "fake");
  CHECK(models["data"][0]["max_model_len"] == 100);
  CHECK(client.Call("GET", "/v1/models/fake").json()["object"] == "model");
  const auto tokens =
      client.Call("POST", "/tokenize", R"({"prompt":"ab","return_token_strs":true})");
  CHECK(
      tokens.json() ==
      nlohmann::json::parse(
          R"({"count":3,"max_model_len":100,"tokens":[256,97,98],"token_strs":["<bos>","a","b"]})"));
  CHECK(client.Call("POST", "/detokenize", R"({"tokens":[97,98]})").json()["prompt"] == "ab");
  client.Call("POST", kChat, ChatBody(R"("max_tokens":3)"));
  const std::string metrics = client.Call("GET", "/metrics").body;
  for (const char* line :
       {"lynx_generation_tokens_total 3", "vllm:num_requests_waiting{model_name=\"fake\"} 0",
        "vllm:num_requests_running{model_name=\"fake\"} 0", "lynx_kv_cache_usage_perc 0.6",
        "lynx_prefill_kv_cache_usage_perc 0.6", "vllm:kv_cache_usage_perc{model_name=\"fake\"} 0.6",
        "lynx_request_success_total{finished_reason=\"length\"} 1",
        "lynx_time_to_first_token_seconds_count 1"}) {
    CAPTURE(line);
    CHECK(metrics.find(line) != std::string::npos);
  }
}

TEST_CASE("health says 503 without a decode server, and without progress") {
  auto decode = std::make_shared<FakeDecode>();
  decode->SetInfo(absl::UnavailableError("loading"));
  GatewayFixture gateway({decode}, {});
  const TestReply reply = gateway.Connect().Call("GET", "/health");
  CHECK(reply.status == 503);
  CHECK(reply.json()["error"]["message"].get<std::string>().find("loading") != std::string::npos);
  CHECK(gateway.Post(kChat, ChatBody("")).status == 503);

  GatewayOptions options;
  options.stall_timeout = absl::Nanoseconds(1);
  GatewayFixture stalled(FakeDecode::Script(), options);
  CHECK(stalled.Connect().Call("GET", "/health").status == 200);
  TestClient client = stalled.Connect();
  client.Send("POST", kChat, ChatBody(""));
  const auto call = stalled.decode.NextCall();
  REQUIRE(call != nullptr);
  CHECK(stalled.Connect().Call("GET", "/health").status == 503);
  call->Finish(v1::FINISH_STOP);
  CHECK(client.Read().status == 200);
}

TEST_CASE("keys, ids and CORS") {
  const std::string path = "/tmp/lynx_gateway_keys_" + std::to_string(getpid());
  std::ofstream(path) << "# comment\n\nsecret-1\nsecret-2\n";
  GatewayOptions options;
  options.api_keys_file = path;
  options.cors_allow_origin = "https://ui.example";
  GatewayFixture gateway(Alphabet, options);
  std::remove(path.c_str());
  TestClient client = gateway.Connect();
  CHECK(client.Call("GET", "/v1/models").status == 401);
  CHECK(client.Call("GET", "/v1/models", "", "Authorization: Bearer secret\r\n").status == 401);
  CHECK(client.Call("GET", "/v1/models", "", "Authorization: Bearer \r\n").status == 401);
  const TestReply reply = client.Call("GET", "/v1/models", "",
                                      "Authorization: Bearer secret-2\r\nX-Request-Id: my-1\r\n");
  CHECK(reply.status == 200);
  CHECK(reply.header("X-Request-Id") == "my-1");
  CHECK(reply.header("Access-Control-Allow-Origin") == "https://ui.example");
  CHECK(client.Call("GET", "/health").status == 200);
  CHECK(client.Call("GET", "/metrics").status == 200);
  CHECK(client.Call("OPTIONS", kChat).status == 204);
  CHECK(client.Call("GET", "/version", "", "X-Request-Id: a b\r\n").header("X-Request-Id").size() ==
        32);
  GatewayOptions missing;
  missing.api_keys_file = path;
  missing.pool.decode = {"10.0.0.1:1"};
  missing.pool.prefill = {"10.0.0.1:2"};
  CHECK_FALSE(GatewayServer::Create(missing, std::make_unique<FakeTextModel>(), {}).ok());
}

TEST_CASE("without keys an empty bearer token passes") {
  GatewayFixture gateway(Alphabet);
  CHECK(gateway.Connect().Call("GET", "/v1/models", "", "Authorization: Bearer \r\n").status ==
        200);
}

}  // namespace lynx
