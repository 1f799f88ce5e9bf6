#include "runtime/trace_context.h"

#include <catch2/catch.hpp>
#include <string>

namespace lynx {
namespace {

const std::string kGood = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST_CASE("a traceparent is passed on if it follows the standard", "[trace]") {
  CHECK(IsTraceParent(kGood));
  CHECK(TraceId(kGood) == "0af7651916cd43dd8448eb211c80319c");
  CHECK(IsTraceParent("cc" + kGood.substr(2) + "-what-the-future-says"));
  CHECK_FALSE(IsTraceParent(kGood + "-more"));  // version 00 has no more
  CHECK_FALSE(IsTraceParent("ff" + kGood.substr(2)));
  CHECK_FALSE(IsTraceParent("00-" + std::string(32, '0') + kGood.substr(35)));
  CHECK_FALSE(IsTraceParent(kGood.substr(0, 36) + std::string(16, '0') + "-01"));
  CHECK_FALSE(IsTraceParent("cc" + kGood.substr(2) + "-a\nb"));
  CHECK(TraceId("nonsense").empty());
}

TEST_CASE("every other character in a traceparent is refused", "[trace]") {
  for (size_t i = 0; i < kGood.size(); ++i) {
    for (const char c : {'A', 'g', ' ', '-', '\n', '\0', '\xc3'}) {
      std::string bad = kGood;
      if (bad[i] == c) continue;
      bad[i] = c;
      INFO(i << " " << static_cast<int>(c));
      CHECK_FALSE(IsTraceParent(bad));
    }
    CHECK_FALSE(IsTraceParent(kGood.substr(0, i)));
  }
}

TEST_CASE("a tracestate is passed on if it is printable and short", "[trace]") {
  CHECK(IsTraceState("vendor=value,other=1"));
  CHECK_FALSE(IsTraceState(""));
  CHECK_FALSE(IsTraceState("a=b\r\nHost: x"));
  CHECK(IsTraceState(std::string(512, 'a')));
  CHECK_FALSE(IsTraceState(std::string(513, 'a')));
}

}  // namespace
}  // namespace lynx
