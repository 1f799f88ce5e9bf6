// The gateway over real sockets: connections, cancellation, limits, the end.
#include <catch2/catch.hpp>
#include <thread>

#include "absl/synchronization/notification.h"
#include "gateway_fixture.h"

namespace lynx {
namespace {

const std::string kChat = "/v1/chat/completions";

}  // namespace

TEST_CASE("the header and the role wait for the first token, then each event goes out at once") {
  GatewayFixture gateway;
  TestClient client = gateway.Connect();
  client.Send("POST", kChat, ChatBody(R"("stream":true)"));
  const auto call = gateway.decode.NextCall();
  REQUIRE(call != nullptr);
  CHECK(client.socket().available() == 0);
  for (const char* text : {"one", "two", "three"}) {
    call->SendText(text);
    REQUIRE(client.ReadUntil(std::string("\"content\":\"") + text + "\""));
  }
  call->Finish(v1::FINISH_STOP);
  CHECK(client.Read().events().back() == "[DONE]");
}

TEST_CASE("a connection serves one request after the other, streams too") {
  GatewayFixture gateway(Alphabet);
  TestClient client = gateway.Connect();
  for (int i = 0; i < 3; ++i) {
    CHECK(client.Call("POST", kChat, ChatBody(R"("max_tokens":2)")).status == 200);
    CHECK(client.Call("POST", kChat, ChatBody(R"("max_tokens":2,"stream":true)")).status == 200);
  }
}

TEST_CASE("HTTP/1.0 clients get an unframed stream and the end of the connection") {
  GatewayFixture gateway(Alphabet);
  TestClient client = gateway.Connect();
  const std::string body = ChatBody(R"("max_tokens":2,"stream":true)");
  client.SendRaw("POST " + kChat + " HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) +
                 "\r\n\r\n" + body);
  const auto events = client.Read().events();
  REQUIRE(events.size() == 4);
  CHECK(events.back() == "[DONE]");
}

TEST_CASE("a client that goes away cancels its calls, streaming or not") {
  GatewayFixture gateway;
  for (const char* extra : {"\"stream\":true", "\"stream\":false", "\"n\":2"}) {
    CAPTURE(extra);
    std::vector<std::shared_ptr<FakeCall>> calls;
    {
      TestClient client = gateway.Connect();
      client.Send("POST", kChat, ChatBody(extra));
      calls.push_back(gateway.decode.NextCall());
      REQUIRE(calls.back() != nullptr);
      if (std::string(extra) == "\"n\":2") calls.push_back(gateway.decode.NextCall());
      calls[0]->SendText("a");
    }
    for (const auto& call : calls) CHECK(call->WaitUntilCancelled());
  }
  // Others are unharmed.
  TestClient client = gateway.Connect();
  client.Send("POST", kChat, ChatBody(""));
  const auto call = gateway.decode.NextCall();
  REQUIRE(call != nullptr);
  call->SendText("ok");
  call->Finish(v1::FINISH_STOP);
  CHECK(client.Read().json()["choices"][0]["message"]["content"] == "ok");
}

TEST_CASE("a client that reads too slowly is given up in bounded memory") {
  GatewayOptions options;
  options.max_buffered_events = 16;
  GatewayFixture gateway(FakeDecode::Script(), options);
  TestClient client = gateway.Connect();
  client.Send("POST", kChat, ChatBody(R"("stream":true)"));
  const auto call = gateway.decode.NextCall();
  REQUIRE(call != nullptr);
  // The kernel's buffers take some megabytes; then the gateway's few events are all there is.
  int sent = 0;
  while (sent < 1000000 && call->SendText("0123456789")) ++sent;
  CHECK(sent < 1000000);
}

TEST_CASE("limits of what a client may send") {
  GatewayOptions options;
  options.http.max_body_bytes = 2000;
  options.http.max_header_bytes = 1024;
  GatewayFixture gateway(Alphabet, options);
  CHECK(gateway.Post(kChat, std::string(2001, ' ')).status == 413);
  CHECK(gateway.Post(kChat, std::string(500000, ' ')).status == 413);
  const TestReply header =
      gateway.Connect().Call("GET", "/version", "", "X-Long: " + std::string(2000, 'x') + "\r\n");
  CHECK(header.status == 431);
  TestClient chunked = gateway.Connect();
  chunked.SendRaw("POST " + kChat + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n" +
                  std::string(3000, ' ') + "\r\n0\r\n\r\n");
  CHECK(chunked.Read().status == 413);
  TestClient garbage = gateway.Connect();
  garbage.SendRaw("this is no HTTP at all\r\n\r\n");
  CHECK(garbage.Read().status == 400);
  // It lives on.
  CHECK(gateway.Post(kChat, ChatBody(R"("max_tokens":1)")).status == 200);
}

TEST_CASE("more connections or requests than allowed are told so") {
  GatewayOptions options;
  options.http.max_connections = 2;
  GatewayFixture gateway(FakeDecode::Script(), options);
  TestClient first = gateway.Connect(), second = gateway.Connect();
  CHECK(first.Call("GET", "/version").status == 200);
  CHECK(second.Call("GET", "/version").status == 200);
  TestClient third = gateway.Connect();
  CHECK(third.Read().status == 503);

  GatewayOptions one;
  one.max_requests = 1;
  GatewayFixture busy(FakeDecode::Script(), one);
  TestClient client = busy.Connect();
  client.Send("POST", kChat, ChatBody(""));
  const auto call = busy.decode.NextCall();
  REQUIRE(call != nullptr);
  const TestReply refused = busy.Post(kChat, ChatBody(""));
  CHECK(refused.status == 503);
  CHECK(refused.header("Retry-After") == "1");
  call->Finish(v1::FINISH_STOP);
  CHECK(client.Read().status == 200);
}

TEST_CASE("a body that comes after 100-continue") {
  GatewayFixture gateway(Alphabet);
  TestClient client = gateway.Connect();
  const std::string body = ChatBody(R"("max_tokens":1)");
  client.SendRaw("POST " + kChat + " HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: " +
                 std::to_string(body.size()) + "\r\n\r\n");
  REQUIRE(client.Read().status == 100);
  client.SendRaw(body);
  CHECK(client.Read().status == 200);
}

TEST_CASE("a drain finishes what is in flight and refuses the rest") {
  GatewayFixture gateway;
  TestClient client = gateway.Connect(), idle = gateway.Connect();
  CHECK(idle.Call("GET", "/version").status == 200);
  client.Send("POST", kChat, ChatBody(R"("stream":true)"));
  const auto call = gateway.decode.NextCall();
  REQUIRE(call != nullptr);
  call->SendText("a");
  REQUIRE(client.ReadUntil("\"content\":\"a\""));
  gateway.server->Drain();
  CHECK(idle.Read().status == 0);
  CHECK_FALSE(gateway.Connect().connected());
  CHECK(gateway.server->open_calls() > 0);
  call->SendText("b");
  call->Finish(v1::FINISH_STOP);
  CHECK(client.Read().events().back() == "[DONE]");
  while (gateway.server->open_calls() > 0) absl::SleepFor(absl::Milliseconds(1));
}

TEST_CASE("the end of the server cuts what is in flight") {
  GatewayFixture gateway;
  TestClient client = gateway.Connect();
  client.Send("POST", kChat, ChatBody(R"("stream":true)"));
  const auto call = gateway.decode.NextCall();
  REQUIRE(call != nullptr);
  gateway.server.reset();
  CHECK(call->WaitUntilCancelled());
  CHECK(client.Read().status == 0);
}

TEST_CASE("200 streams at once, each its own") {
  GatewayOptions options;
  options.io_threads = 2;
  GatewayFixture gateway(FakeDecode::Script(), options);
  constexpr int kStreams = 200;
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<TestClient>(gateway.server->port()));
    clients.back()->Send(
        "POST", "/v1/completions",
        R"({"stream":true,"max_tokens":60,"prompt":")" + std::to_string(i) + "\"}");
  }
  std::vector<std::shared_ptr<FakeCall>> calls;
  for (int i = 0; i < kStreams; ++i) {
    calls.push_back(gateway.decode.NextCall());
    REQUIRE(calls.back() != nullptr);
  }
  for (int round = 0; round < 10; ++round) {
    for (const auto& call : calls) {
      std::string own;
      for (int k = 1; k < call->request.prompt_size(); ++k) {
        own += static_cast<char>(call->request.prompt(k));
      }
      REQUIRE(call->SendText(own + ","));
    }
  }
  for (const auto& call : calls) call->Finish(v1::FINISH_LENGTH);
  for (int i = 0; i < kStreams; ++i) {
    std::string text, want;
    for (const std::string& event : clients[i]->Read().events()) {
      if (event != "[DONE]") text += nlohmann::json::parse(event)["choices"][0]["text"];
    }
    for (int round = 0; round < 10; ++round) want += std::to_string(i) + ",";
    CHECK(text == want);
  }
}

}  // namespace lynx
