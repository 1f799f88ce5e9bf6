#include "runtime/bounded_queue.h"

#include <catch2/catch.hpp>
#include <thread>

namespace lynx {

TEST_CASE("a full queue refuses and keeps the order of what it holds") {
  BoundedQueue<int> q(2);
  CHECK(q.TryPush(1));
  CHECK(q.TryPush(2));
  CHECK_FALSE(q.TryPush(3));
  CHECK(q.TryPop() == 1);
  CHECK(q.TryPush(4));
  CHECK(q.TryPop() == 2);
  CHECK(q.TryPop() == 4);
  CHECK(q.TryPop() == std::nullopt);
}

TEST_CASE("a waiting reader sees the item and the close") {
  BoundedQueue<int> q(8);
  std::thread writer([&] {
    for (int i = 0; i < 100;) i += q.TryPush(int(i)) ? 1 : 0;
    q.Close();
  });
  for (int i = 0; i < 100; ++i) REQUIRE(q.PopWithTimeout(absl::Seconds(30)) == i);
  CHECK(q.PopWithTimeout(absl::Seconds(30)) == std::nullopt);
  CHECK_FALSE(q.TryPush(1));
  writer.join();
}

}  // namespace lynx
