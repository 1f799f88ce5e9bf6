// What answers hold beyond OpenAI's protocol.
#include <catch2/catch.hpp>

#include "gateway_fixture.h"

namespace lynx {
namespace {

const std::string kChat = "/v1/chat/completions";

// Answers with one token that says how the call was asked for: s(peculative) or v(erified).
void SayEmission(FakeCall& call) {
  call.SendText(call.request.emission() == v1::EMISSION_SPECULATIVE ? "s" : "v");
  call.Finish(v1::FINISH_LENGTH);
}

}  // namespace

TEST_CASE("the server's own emission is for streams that do not say and can take tokens back") {
  GatewayOptions options;
  options.default_emission = v1::EMISSION_SPECULATIVE;
  GatewayFixture gateway(SayEmission, options);
  const auto emission = [&](const std::string& fields) {
    const TestReply reply = gateway.Post(kChat, ChatBody(fields));
    CHECK(reply.status == 200);
    const bool speculative = reply.body.find(R"("content":"s")") != std::string::npos;
    const bool verified = reply.body.find(R"("content":"v")") != std::string::npos;
    CHECK(speculative != verified);
    // Marked for the client if and only if it is.
    CHECK(speculative == (reply.body.find("provisional") != std::string::npos));
    return speculative ? "speculative" : "verified";
  };
  CHECK(emission(R"("stream":true)") == std::string("speculative"));
  CHECK(emission(R"("stream":true,"lynx":{"emission":null})") == std::string("speculative"));
  CHECK(emission(R"("stream":true,"lynx":{"emission":"verified"})") == std::string("verified"));
  CHECK(emission(R"("stream":true,"logprobs":true)") == std::string("verified"));
  CHECK(emission("") == std::string("verified"));
}

TEST_CASE("stats of choices that a stop string ended are absent, not zero") {
  GatewayFixture gateway;
  TestClient client = gateway.Connect();
  client.Send("POST", kChat, ChatBody(R"("n":2,"stop":"!","lynx":{"stats":true})"));
  const auto first = gateway.decode.NextCall(), second = gateway.decode.NextCall();
  REQUIRE((first != nullptr && second != nullptr));
  first->SendText("a!");
  REQUIRE(first->WaitUntilCancelled());
  second->SendText("b");
  v1::GenerateStats stats;
  stats.set_drafted(7);
  stats.set_accepted(5);
  second->Finish(v1::FINISH_LENGTH, stats);
  const auto json = client.Read().json();
  CHECK(json["lynx"]["choices_without_stats"] == 1);
  CHECK(json["lynx"]["drafted"] == 7);
  CHECK(json["lynx"]["accepted"] == 5);

  client.Send("POST", kChat,
              ChatBody(R"("stream":true,"stream_options":{"include_usage":true},)"
                       R"("stop":"!","lynx":{"stats":true})"));
  const auto only = gateway.decode.NextCall();
  REQUIRE(only != nullptr);
  only->SendText("a!");
  const std::vector<std::string> events = client.Read().events();
  REQUIRE(events.size() >= 3);
  for (size_t i = events.size() - 3; i < events.size() - 1; ++i) {  // the last choice's, the usage
    CHECK(nlohmann::json::parse(events[i])["lynx"].dump() == R"({"choices_without_stats":1})");
  }
}

TEST_CASE("stats of choices that the servers ended are all there") {
  GatewayFixture gateway(SayEmission);
  const auto json = gateway.Post(kChat, ChatBody(R"("lynx":{"stats":true})")).json();
  CHECK(json["lynx"]["drafted"] == 0);
  CHECK(json["lynx"]["diverged"] == false);
  CHECK_FALSE(json["lynx"].contains("choices_without_stats"));
}

TEST_CASE("a server that hangs loses the requests without a token to another one, and only them") {
  const auto hanging = std::make_shared<FakeDecode>(), other = std::make_shared<FakeDecode>();
  other->SetInfo(absl::UnavailableError("not yet"));
  GatewayOptions options;
  options.pool.info_interval = absl::Milliseconds(8);
  GatewayFixture gateway({hanging, other}, options);
  TestClient begun = gateway.Connect(), waiting = gateway.Connect();
  begun.Send("POST", kChat, ChatBody(R"("stream":true)"));
  const auto first = hanging->NextCall();
  REQUIRE(first != nullptr);
  first->SendText("a");
  REQUIRE(begun.ReadUntil(R"("content":"a")"));
  waiting.Send("POST", kChat, ChatBody(""));
  const auto second = hanging->NextCall();
  REQUIRE(second != nullptr);
  other->SetInfo(FakeInfo());
  const auto both_ready = [&] {
    return gateway.Connect().Call("GET", "/metrics").body.find("lynx_decode_servers_ready 2") !=
           std::string::npos;
  };
  for (const absl::Time end = absl::Now() + absl::Seconds(30); !both_ready();) {
    REQUIRE(absl::Now() < end);
  }

  hanging->SetInfo(absl::DeadlineExceededError("no answer"));
  const auto moved = other->NextCall();
  REQUIRE(moved != nullptr);
  CHECK(second->WaitUntilCancelled());
  CHECK(moved->request.SerializeAsString() == second->request.SerializeAsString());
  moved->SendText("b");
  moved->Finish(v1::FINISH_LENGTH);
  CHECK(waiting.Read().status == 200);
  first->SendText("c");  // it goes on after all
  first->Finish(v1::FINISH_LENGTH);
  CHECK_THAT(begun.Read().body, Catch::Contains(R"("content":"c")"));
}

TEST_CASE("a trace context is passed on as it came, if it is one") {
  v1::TraceContext heard;
  GatewayFixture gateway([&](FakeCall& call) {
    heard = call.request.trace();
    Alphabet(call);
  });
  const auto ask = [&](const std::string& headers) {
    heard.Clear();
    CHECK(gateway.Connect().Call("POST", kChat, ChatBody(R"("max_tokens":1)"), headers).status ==
          200);
    return heard.parent() + "|" + heard.state();
  };
  const std::string parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  CHECK(ask("Traceparent: " + parent + "\r\nTracestate: a=1,b=2\r\n") == parent + "|a=1,b=2");
  CHECK(ask("traceparent: " + parent + "\r\n") == parent + "|");
  CHECK(ask("traceparent: " + parent + "0\r\ntracestate: a=1\r\n") == "|");
  CHECK(ask("tracestate: a=1\r\n") == "|");
}

TEST_CASE("a request's trace has the gateway's part and names servers that do not answer") {
  GatewayFixture gateway(Alphabet);
  TestClient client = gateway.Connect();
  CHECK(client.Call("GET", "/lynx/trace/r-1").status == 404);
  REQUIRE(client
              .Call("POST", kChat, ChatBody(R"("max_tokens":3)"),
                    "X-Request-Id: r-1\r\ntraceparent: "
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n")
              .status == 200);
  const nlohmann::json trace = client.Call("GET", "/lynx/trace/r-1").json();
  CHECK(trace["otherData"]["request"] == "r-1");
  CHECK(trace["otherData"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c");
  REQUIRE(trace["otherData"]["problems"].size() == 1);
  const std::string problem = trace["otherData"]["problems"][0];
  CHECK(problem.find("decode 10.0.0.1:1: ") == 0);
  int committed = 0, whole = 0;
  for (const nlohmann::json& event : trace["traceEvents"]) {
    committed += event["name"] == "committed" ? 1 : 0;
    whole += event["name"] == "request" && event["ph"] == "X" ? 1 : 0;
  }
  CHECK(committed == 3);
  CHECK(whole == 1);
}

TEST_CASE("tracing can be off") {
  GatewayOptions options;
  options.trace.requests = 0;
  GatewayFixture gateway(Alphabet, options);
  TestClient client = gateway.Connect();
  CHECK(client.Call("POST", kChat, ChatBody(""), "X-Request-Id: r-1\r\n").status == 200);
  CHECK(client.Call("GET", "/lynx/trace/r-1").status == 404);
}

}  // namespace lynx
