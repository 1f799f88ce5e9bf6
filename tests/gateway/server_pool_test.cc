#include "gateway/server_pool.h"

#include <catch2/catch.hpp>

#include "fake_servers.h"

namespace lynx {
namespace {

v1::ServerInfo Loaded(const std::string& weights, int64_t running) {
  v1::ServerInfo info = FakeInfo(weights);
  info.set_requests_running(running);
  return info;
}

v1::ServerInfo Prefill(const std::string& weights, int64_t outstanding) {
  v1::ServerInfo info = FakeInfo(weights);
  info.set_prompt_tokens_outstanding(outstanding);
  return info;
}

}  // namespace

TEST_CASE("the least loaded decode server is taken, by reports and by what we sent") {
  auto a = std::make_shared<FakeDecode>(), b = std::make_shared<FakeDecode>();
  a->SetInfo(Loaded("w", 3));
  b->SetInfo(Loaded("w", 0));
  auto pool = ServerPool::Create({}, {a, b}, {std::make_shared<FakePrefill>("p:1")});
  CHECK_FALSE(pool->Choose({}, {}).ok());  // nobody was asked yet
  pool->Poll();
  std::vector<ServerPool::Pick> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(*pool->Choose({}, {}));
    CHECK(held.back().index == 1);
  }
  held.push_back(*pool->Choose({}, {}));  // 3 and 3: they take turns
  CHECK(held.back().index == 0);
  held.clear();
  CHECK(pool->Choose({}, {})->index == 1);
  CHECK(pool->Choose({}, 1)->index == 0);
}

TEST_CASE("only servers of one identity go together") {
  auto a = std::make_shared<FakeDecode>(), b = std::make_shared<FakeDecode>();
  a->SetInfo(Loaded("old", 5));
  b->SetInfo(Loaded("new", 0));
  auto pool = ServerPool::Create({}, {a, b},
                                 {std::make_shared<FakePrefill>("p:1", Prefill("old", 9)),
                                  std::make_shared<FakePrefill>("p:2", Prefill("old", 2)),
                                  std::make_shared<FakePrefill>("p:3", Prefill("other", 0))});
  pool->Poll();
  const auto pick = pool->Choose({}, {});
  REQUIRE(pick.ok());
  CHECK(pick->index == 0);  // the other has no prefill server
  CHECK(pick->prefill_addresses == std::vector<std::string>{"p:2", "p:1"});
  CHECK_FALSE(pool->Choose(FakeInfo("new").identity(), {}).ok());
  CHECK_FALSE(pool->Choose(pick->identity, 0).ok());
  CHECK(pool->State().decode_ready == 1);
}

TEST_CASE("a server that does not answer is left out until it does") {
  auto a = std::make_shared<FakeDecode>();
  auto pool = ServerPool::Create({}, {a}, {std::make_shared<FakePrefill>("p:1")});
  pool->Poll();
  CHECK(pool->State().decode_ready == 1);
  pool->ReportUnreachable(0, absl::UnavailableError("connection refused"));
  const auto pick = pool->Choose({}, {});
  CHECK(absl::IsUnavailable(pick.status()));
  CHECK(pick.status().message().find("connection refused") != absl::string_view::npos);
  pool->Poll();
  CHECK(pool->Choose({}, {}).ok());
  a->SetInfo(absl::DeadlineExceededError("hangs"));
  pool->Poll();
  CHECK_FALSE(pool->Choose({}, {}).ok());
}

}  // namespace lynx
