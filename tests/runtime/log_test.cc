#include "runtime/log.h"

#include <catch2/catch.hpp>
#include <string>

namespace lynx {
namespace {

TEST_CASE("a line's fields as JSON", "[log]") {
  CHECK(
      LogFieldsAsJson("request failed request=a-1 code=UNAVAILABLE reason=\"no server\"") ==
      R"("event": "request failed", "request": "a-1", "code": "UNAVAILABLE", "reason": "no server")");
  CHECK(LogFieldsAsJson("event=gpu_opened device=0") == R"("event": "gpu_opened", "device": "0")");
  CHECK(LogFieldsAsJson("ready") == R"("event": "ready")");
  CHECK(LogFieldsAsJson("a=") == R"("a": "")");
  CHECK(LogFieldsAsJson("") == "");
}

TEST_CASE("a line that is no key=value is a message", "[log]") {
  CHECK(LogFieldsAsJson("a=1 then words") == R"("message": "a=1 then words")");
  CHECK(LogFieldsAsJson("a=\"open") == R"("message": "a=\"open")");
  CHECK(LogFieldsAsJson("a=\"1\"2") == R"("message": "a=\"1\"2")");
}

TEST_CASE("what a peer said stays one value", "[log]") {
  // Every byte, beside what would end a value or a line.
  std::string hostile = "x\" admin=true \\ \n\r\t level=error";
  for (int byte = 0; byte < 256; ++byte) hostile.push_back(static_cast<char>(byte));
  const std::string quoted = LogValue(hostile);
  for (const char c : quoted) CHECK(static_cast<unsigned char>(c) >= 0x20);

  const std::string json = LogFieldsAsJson("failed reason=" + quoted + " code=3");
  CHECK(json.find(R"("code": "3")") == json.size() - std::string(R"("code": "3")").size());
  CHECK(json.find(R"("admin")") == std::string::npos);
  CHECK(json.find(R"(x\" admin=true \\ \u000a\u000d\u0009 level=error)") != std::string::npos);
  CHECK(json.find(R"(\ufffd)") != std::string::npos);  // bytes that are no UTF-8
}

TEST_CASE("plain values need no quotes", "[log]") {
  CHECK(LogValue("chatcmpl-a1.b_2") == "chatcmpl-a1.b_2");
  CHECK(LogValue("127.0.0.1:8101") == "127.0.0.1:8101");
  CHECK(LogValue("") == R"("")");
  CHECK(LogValue("a b") == R"("a b")");
  CHECK(LogValue("a=b") == R"("a=b")");
  CHECK(LogValue("\xc3\xa4") == "\"\xc3\xa4\"");
}

TEST_CASE("UTF-8 stays, what only looks like it does not", "[log]") {
  CHECK(LogFieldsAsJson("a=\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x88") ==
        "\"a\": \"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x88\"");
  for (const char* bad : {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    const std::string json = LogFieldsAsJson(std::string("a=") + bad);
    CHECK(json.find(R"(\ufffd)") == std::string(R"("a": ")").size());
  }
}

}  // namespace
}  // namespace lynx
