#include "runtime/measures.h"

#include <catch2/catch.hpp>
#include <thread>

#include "runtime/published.h"

namespace lynx {

TEST_CASE("a distribution counts a value in the first bucket that holds it") {
  static constexpr double kEdges[] = {1, 2, 5};
  Distribution values(kEdges);
  for (const double value : {0.0, 1.0, 1.5, 2.0, 5.0, 5.5, 100.0}) values.Observe(value);
  CHECK(values.count(0) == 2);
  CHECK(values.count(1) == 2);
  CHECK(values.count(2) == 1);
  CHECK(values.count(3) == 2);
  CHECK(values.sum() == 115);
}

TEST_CASE("a published value is never seen half written") {
  struct Value {
    uint64_t words[9];
  };
  constexpr uint64_t kLast = 20000;
  Published<Value> published;
  CHECK(published.Get().words[0] == 0);
  std::thread writer([&] {
    for (uint64_t i = 1; i <= kLast; ++i) {
      Value value;
      for (uint64_t& word : value.words) word = i;
      published.Set(value);
    }
  });
  uint64_t torn = 0;
  uint64_t last = 0;
  while (last < kLast) {
    const Value value = published.Get();
    for (const uint64_t word : value.words) torn += word != value.words[0];
    torn += value.words[0] < last;
    last = value.words[0];
  }
  writer.join();
  CHECK(torn == 0);
}

}  // namespace lynx
