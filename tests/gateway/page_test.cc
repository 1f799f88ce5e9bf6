// The page at `/`, as far as a browser is not needed: tests/gateway/page/ has what needs one.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <regex>

#include "gateway_fixture.h"

namespace lynx {
namespace {

const std::string kFiles[] = {"/", "/page.css", "/page.js"};

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the page's files run nothing but themselves and are framed by nobody") {
  GatewayFixture gateway;
  TestClient client = gateway.Connect();
  for (const std::string& path : kFiles) {
    CAPTURE(path);
    const TestReply reply = client.Call("GET", path + "?q=<script>alert(1)</script>");
    CHECK(reply.status == 200);
    CHECK(reply.body == client.Call("GET", path).body);  // the same for everybody
    const std::string policy = reply.header("Content-Security-Policy");
    for (const char* part :
         {"default-src 'none';", "script-src 'self';", "style-src 'self';", "connect-src 'self';",
          "base-uri 'none';", "form-action 'none';", "frame-ancestors 'none'"}) {
      CAPTURE(part);
      CHECK(Has(policy, part));
    }
    CHECK_FALSE(Has(policy, "unsafe"));
    CHECK(reply.header("X-Content-Type-Options") == "nosniff");
    CHECK(reply.header("Referrer-Policy") == "no-referrer");
    CHECK(client.Call("POST", path, "{}").status == 405);
  }
  CHECK(Has(client.Call("GET", "/").header("Content-Type"), "text/html"));
  CHECK(Has(client.Call("GET", "/page.js").header("Content-Type"), "javascript"));
}

TEST_CASE("the page takes nothing from elsewhere, and markup from nowhere") {
  GatewayFixture gateway;
  TestClient client = gateway.Connect();
  for (const std::string& path : kFiles) {
    CAPTURE(path);
    const std::string body = client.Call("GET", path).body;
    CHECK_FALSE(body.empty());
    CHECK_FALSE(Has(body, "//" + std::string("cdn")));
    CHECK_FALSE(std::regex_search(body, std::regex("https?:|src=\"//|url\\(|@import")));
  }
  const std::string html = client.Call("GET", "/").body;
  CHECK_FALSE(std::regex_search(html, std::regex("<script>| style=| on[a-z]+=")));
  CHECK_FALSE(std::regex_search(
      client.Call("GET", "/page.js").body,
      std::regex("innerHTML|outerHTML|insertAdjacent|document\\.write|eval\\(|localStorage|"
                 "sessionStorage|cookie")));
}

TEST_CASE("what is told of a path that is not there is no page") {
  GatewayFixture gateway;
  const TestReply reply = gateway.Connect().Call("GET", "/<script>alert(1)</script>");
  CHECK(reply.status == 404);
  CHECK(reply.header("Content-Type") == "application/json");
  CHECK(reply.header("X-Content-Type-Options") == "nosniff");
}

TEST_CASE("without the page there is nothing") {
  GatewayOptions options;
  options.page = false;
  GatewayFixture gateway(FakeDecode::Script(), options);
  TestClient client = gateway.Connect();
  for (const char* path : {"/", "/page.css", "/page.js", "/lynx/pool"}) {
    CHECK(client.Call("GET", path).status == 404);
  }
  CHECK(client.Call("GET", "/health").status == 200);
}

TEST_CASE("the page is open and its figures want the key") {
  const std::string path = "/tmp/lynx_page_keys_" + std::to_string(getpid());
  std::ofstream(path) << "secret\n";
  GatewayOptions options;
  options.api_keys_file = path;
  GatewayFixture gateway(FakeDecode::Script(), options);
  std::remove(path.c_str());
  TestClient client = gateway.Connect();
  CHECK(client.Call("GET", "/").status == 200);
  CHECK(client.Call("GET", "/lynx/pool").status == 401);
  const TestReply reply = client.Call("GET", "/lynx/pool", "", "Authorization: Bearer secret\r\n");
  CHECK(reply.status == 200);
  const auto pool = reply.json();
  CHECK(pool["model"] == "fake");
  CHECK(pool["decode_ready"] == 1);
  CHECK(pool["prefill_ready"] == 1);
  CHECK(pool["requests_waiting"] == 0);
  CHECK(pool["decode_kv_used"].get<double>() == Approx(0.6));
  CHECK(pool["prefill_kv_used"].get<double>() == Approx(0.6));
}

}  // namespace lynx
