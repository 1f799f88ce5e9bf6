#include "runtime/request_trace.h"

#include <catch2/catch.hpp>
#include <string>

namespace lynx {
namespace {

TEST_CASE("the latest requests are kept", "[trace]") {
  TraceBook book({.requests = 3, .spans = 2});
  const TracePtr first = book.Open("a");
  for (const char* id : {"b", "c", "b"}) book.Open(id)->AddPeer({"host:1", id});
  CHECK(book.Find("a") == nullptr);
  CHECK(book.Find("none") == nullptr);
  const TracePtr newest = book.Find("b");
  REQUIRE(newest != nullptr);
  CHECK(newest->content().peers.size() == 1);
  CHECK(book.Open("b") != newest);
  CHECK(book.Find("b") != newest);
  // The first is still its owner's.
  AddSpan(first, {.track = "t", .name = "n", .begin = Nanos(1), .end = Nanos(2)});
  CHECK(first->content().spans.size() == 1);
}

TEST_CASE("a request's spans are limited, and the rest counted", "[trace]") {
  TraceBook book({.requests = 1, .spans = 2});
  const TracePtr trace = book.Open("a");
  for (int i = 0; i < 5; ++i) AddSpan(trace, {.begin = Nanos(i), .end = Nanos(i)});
  const RequestTrace::Content content = book.Find("a")->content();
  REQUIRE(content.spans.size() == 2);
  CHECK(content.spans[1].begin == Nanos(1));
  CHECK(content.spans_dropped == 3);
}

TEST_CASE("tracing can be off", "[trace]") {
  TraceBook book({.requests = 0});
  const TracePtr trace = book.Open("a");
  CHECK(trace == nullptr);
  AddSpan(trace, {});
  CHECK(book.Find("a") == nullptr);
}

}  // namespace
}  // namespace lynx
