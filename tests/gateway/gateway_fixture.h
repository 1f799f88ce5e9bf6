// A gateway on a free port in front of fake servers.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <utility>

#include "fake_servers.h"
#include "fake_text_model.h"
#include "gateway/server.h"
#include "test_client.h"

namespace lynx {

struct GatewayFixture {
  explicit GatewayFixture(FakeDecode::Script script = {}, GatewayOptions options = {})
      : GatewayFixture({std::make_shared<FakeDecode>(std::move(script))}, std::move(options)) {}

  GatewayFixture(std::vector<std::shared_ptr<FakeDecode>> servers, GatewayOptions options)
      : decodes(std::move(servers)), decode(*decodes.front()) {
    options.http.port = 0;
    FakeServers servers_by_address;
    for (const auto& fake : decodes) options.pool.decode.push_back(servers_by_address.Add(fake));
    options.pool.prefill = {servers_by_address.Add(std::make_shared<FakePrefill>())};
    auto made = GatewayServer::Create(std::move(options), std::make_unique<FakeTextModel>(),
                                      servers_by_address.Clients());
    REQUIRE(made.ok());
    server = *std::move(made);
    REQUIRE(server->Start().ok());
  }

  TestClient Connect() const { return TestClient(server->port()); }
  TestReply Post(const std::string& path, const std::string& body) const {
    return Connect().Call("POST", path, body);
  }

  std::vector<std::shared_ptr<FakeDecode>> decodes;
  FakeDecode& decode;
  std::unique_ptr<GatewayServer> server;
};

// Answers with as many of "abcdefghij..." as are wanted.
inline void Alphabet(FakeCall& call) {
  for (int64_t i = 0; i < call.request.max_tokens(); ++i) {
    if (!call.SendText(std::string(1, static_cast<char>('a' + i % 26)))) return;
  }
  call.Finish(v1::FINISH_LENGTH);
}

inline std::string ChatBody(const std::string& extra) {
  return R"({"model":"fake","messages":[{"role":"user","content":"hi"}])" +
         (extra.empty() ? "" : "," + extra) + "}";
}

}  // namespace lynx
