#include "gateway/server_pool.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "fake_servers.h"

namespace lynx {
namespace {

using Condition = ServerCondition;

struct Bed {
  explicit Bed(size_t decode_count, double retry_share = 0.2) : retry_share(retry_share) {
    for (size_t i = 0; i < decode_count; ++i) {
      decodes.push_back(std::make_shared<FakeDecode>());
      decode_addresses.push_back(servers.Add(decodes.back()));
    }
    prefill = std::make_shared<FakePrefill>();
    prefill_addresses.push_back(servers.Add(prefill));
  }
  // Once all servers are there.
  void Start() {
    PoolOptions options;
    options.retry_share = retry_share;
    pool = ServerPool::Create(options, servers.Clients(), &clock);
    pool->SetServers(ServerRole::kDecode, decode_addresses, "");
    pool->SetServers(ServerRole::kPrefill, prefill_addresses, "");
  }
  absl::StatusOr<ServerPool::Pick> Choose(ServerPool::Query query = {}) {
    return pool->Choose(std::move(query));
  }
  // The index of the decode server that is chosen, once; -1: none.
  int Index(ServerPool::Query query = {}) {
    const auto pick = Choose(std::move(query));
    if (!pick.ok()) return -1;
    return static_cast<int>(std::find(decodes.begin(), decodes.end(), pick->client) -
                            decodes.begin());
  }
  Condition ConditionOf(const std::string& address) const {
    for (const ServerSnapshot& s : pool->Servers()) {
      if (s.address == address) return s.condition;
    }
    FAIL("unknown server");
    return Condition::kUnknown;
  }

  const double retry_share;
  ManualClock clock;
  FakeServers servers;
  std::vector<std::shared_ptr<FakeDecode>> decodes;
  std::shared_ptr<FakePrefill> prefill;
  std::vector<std::string> decode_addresses, prefill_addresses;
  std::shared_ptr<ServerPool> pool;
};

v1::ServerInfo Outstanding(int64_t tokens) {
  v1::ServerInfo info = FakeInfo();
  info.set_tokens_outstanding(tokens);
  return info;
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

}  // namespace

TEST_CASE("requests go where the fewest tokens are, by reports and by what we sent") {
  Bed bed(2);
  bed.decodes[0]->SetInfo(Outstanding(250));
  bed.Start();
  std::vector<ServerPool::Pick> held;
  const auto hold = [&] {
    held.push_back(*bed.Choose({.request = {.prompt_tokens = 50, .max_tokens = 50}}));
    bed.pool->Poll();  // what others sent is known anew
    return held.back().client;
  };
  for (int i = 0; i < 3; ++i) CHECK(hold() == bed.decodes[1]);
  CHECK(hold() == bed.decodes[0]);
  const auto tokens = [&] {
    std::vector<int64_t> all;
    for (const ServerSnapshot& s : bed.pool->Servers()) all.push_back(s.tokens_outstanding);
    return all;
  };
  using Tokens = std::vector<int64_t>;       // of the prefill server, then of both decode servers
  CHECK(tokens() == Tokens{200, 250, 300});  // of the 250, 100 are ours
  held[0].lease->Begun();
  held[0].lease->Begun();
  CHECK(tokens() == Tokens{150, 250, 300});
  held.clear();
  CHECK(tokens() == Tokens{0, 150, 0});
}

TEST_CASE("a broken server's numbers overflow nothing") {
  Bed bed(3);
  for (const int64_t n : {INT64_MAX, INT64_MIN}) {
    v1::ServerInfo info = FakeInfo();
    info.set_pages_total(n);
    info.set_pages_free(n);
    info.set_requests_running(n);
    info.set_requests_waiting(n);
    info.set_tokens_outstanding(n);
    bed.decodes[n > 0 ? 0 : 1]->SetInfo(info);
  }
  bed.Start();
  std::vector<ServerPool::Pick> held;
  for (int i = 0; i < 20; ++i) {
    auto pick = bed.Choose({.request = {.prompt_tokens = 50, .max_tokens = 50}});
    REQUIRE(pick.ok());
    held.push_back(*std::move(pick));
  }
  for (const ServerSnapshot& server : bed.pool->Servers()) {
    CHECK(server.tokens_outstanding >= 0);
    CHECK(server.tokens_outstanding <= int64_t{1} << 41);
  }
  const PoolState state = bed.pool->State();
  CHECK(state.requests_running >= 0);
  CHECK(state.requests_waiting >= 0);
  CHECK(state.pages_total >= state.pages_free);
  CHECK(state.pages_free >= 0);
}

TEST_CASE("servers that differ in the arithmetic of their GPUs do not go together") {
  Bed bed(2);
  v1::ServerInfo other = FakeInfo();
  other.mutable_identity()->set_arithmetic("sm_90");
  bed.decodes[0]->SetInfo(other);
  bed.Start();
  for (int i = 0; i < 4; ++i) CHECK(bed.Index() == 1);
  CHECK(bed.Index({.identity = other.identity()}) == -1);
  CHECK(bed.pool->State().decode_ready == 1);
  bed.prefill->SetInfo(other);
  bed.pool->Poll();
  CHECK(bed.Index() == 0);
  const auto pick = bed.Choose();
  CHECK(pick->identity.arithmetic() == "sm_90");
  CHECK(pick->prefill_addresses == bed.prefill_addresses);
}

TEST_CASE("a server that is not well is left out until it is") {
  Bed bed(1);
  bed.Start();
  v1::ServerInfo draining = FakeInfo(), stalled = FakeInfo();
  draining.set_draining(true);
  stalled.set_stalled(true);
  struct Row {
    absl::StatusOr<v1::ServerInfo> info;
    Condition condition;
    const char* words;
  };
  const Row rows[] = {
      {absl::DeadlineExceededError("no answer"), Condition::kUnreachable, "no answer"},
      {draining, Condition::kDraining, "shutting down"},
      {stalled, Condition::kStalled, "no progress"}};
  for (const Row& row : rows) {
    CAPTURE(row.words);
    CHECK(bed.Index() == 0);
    bed.decodes[0]->SetInfo(row.info);
    bed.pool->Poll();
    const absl::Status status = bed.Choose().status();
    CHECK(absl::IsUnavailable(status));
    CHECK_THAT(Message(status), Catch::Contains(row.words));
    CHECK_THAT(Message(status), Catch::Contains(bed.decode_addresses[0]));
    CHECK(bed.pool->State().problem == Message(status));
    CHECK(bed.ConditionOf(bed.decode_addresses[0]) == row.condition);
    bed.decodes[0]->SetInfo(FakeInfo());
    bed.pool->Poll();
  }
  // A failed call is reason enough to ask again at once.
  bed.decodes[0]->SetInfo(absl::UnavailableError("connection refused"));
  bed.pool->ReportUnreachable(bed.Choose()->server, absl::UnavailableError("socket closed"));
  CHECK_THAT(Message(bed.Choose().status()), Catch::Contains("connection refused"));
  bed.decodes[0]->SetInfo(FakeInfo());
  bed.pool->Poll();
  bed.pool->ReportUnreachable(bed.Choose()->server, absl::UnavailableError("prefill is gone"));
  CHECK(bed.Index() == 0);
}

TEST_CASE("servers join and leave, and what runs on one that left goes on") {
  Bed bed(2);
  const auto all = bed.decode_addresses;
  bed.decode_addresses = {all[0]};
  bed.Start();
  auto held = bed.Choose();
  REQUIRE(held.ok());
  const ServerId left = held->server;
  bed.pool->SetServers(ServerRole::kDecode, {all[1]}, "");
  for (int i = 0; i < 4; ++i) CHECK(bed.Index() == 1);
  CHECK(bed.pool->State().decode_total == 1);
  bed.pool->ReportUnreachable(left, absl::UnavailableError("late"));  // nobody minds
  CHECK(held->client == bed.decodes[0]);
  held->lease->Begun();
  held->lease.reset();
  bed.pool->Poll();
  bed.pool->SetServers(ServerRole::kDecode, all, "");
  CHECK(bed.pool->State().decode_ready == 2);
  CHECK(bed.Choose({.instead_of = bed.Choose()->server}).ok());

  bed.pool->SetServers(ServerRole::kDecode, {}, "decode.svc:8201: the name does not resolve");
  CHECK_THAT(Message(bed.Choose().status()),
             Catch::Contains("decode servers: decode.svc:8201: the name does not resolve"));
  bed.pool->SetServers(ServerRole::kPrefill, {}, "");
  CHECK_THAT(Message(bed.Choose().status()), Catch::Contains("prefill servers: there are none"));
}

TEST_CASE("a client is kept until nothing runs with it") {
  Bed bed(1);
  std::weak_ptr<FakeDecode> client = bed.decodes[0];
  PoolOptions options;
  auto only = std::move(bed.decodes[0]);
  bed.pool = ServerPool::Create(
      options,
      {.decode = [&](const std::string&) { return std::exchange(only, nullptr); },
       .prefill = bed.servers.Clients().prefill},
      &bed.clock);
  bed.servers = FakeServers();
  bed.pool->SetServers(ServerRole::kDecode, bed.decode_addresses, "");
  bed.pool->SetServers(ServerRole::kPrefill, bed.prefill_addresses, "");
  auto pick = bed.Choose();
  REQUIRE(pick.ok());
  bed.pool->SetServers(ServerRole::kDecode, {}, "");
  pick->client.reset();
  bed.pool->Poll();
  CHECK_FALSE(client.expired());
  pick->lease.reset();
  CHECK_FALSE(client.expired());  // not on the thread that ends a request
  bed.pool->Poll();
  CHECK(client.expired());
}

TEST_CASE("requests without a token are told when their server does not answer") {
  Bed bed(2);
  bed.Start();
  bed.decodes[1]->SetInfo(absl::UnavailableError("not yet"));
  bed.pool->Poll();
  int waiting = 0, begun = 0, gone = 0;
  const auto a = bed.Choose({.lost = [&] { ++waiting; }});
  const auto b = bed.Choose({.lost = [&] { ++begun; }});
  b->lease->Begun();
  CHECK(bed.Choose({.lost = [&] { ++gone; }}).ok());  // ends at once
  bed.decodes[1]->SetInfo(FakeInfo());
  bed.pool->Poll();
  CHECK(waiting == 0);
  for (int i = 0; i < 2; ++i) {
    bed.decodes[0]->SetInfo(absl::DeadlineExceededError("hangs"));
    bed.pool->Poll();
    bed.decodes[0]->SetInfo(FakeInfo());
    bed.pool->Poll();
  }
  CHECK((waiting == 1 && begun == 0 && gone == 0));
}

TEST_CASE("retries are a share of the requests, and a few") {
  Bed bed(2, /*retry_share=*/0.5);
  bed.Start();
  const auto retries = [&] {
    int n = 0;
    while (bed.Choose({.instead_of = ServerId{1}}).ok()) ++n;
    return n;
  };
  CHECK(retries() == 10);
  CHECK(absl::IsResourceExhausted(bed.Choose({.instead_of = ServerId{1}}).status()));
  for (int i = 0; i < 40; ++i) CHECK(bed.Choose().ok());
  CHECK(retries() == 20);
  bed.clock.Advance(std::chrono::minutes(10));  // all that is forgotten
  CHECK(retries() == 10);
}

TEST_CASE("one server behind two addresses is one server") {
  Bed bed(2);
  v1::ServerInfo info = FakeInfo();
  info.set_incarnation(77);
  for (const auto& decode : bed.decodes) decode->SetInfo(info);
  bed.Start();
  CHECK(bed.pool->State().decode_ready == 1);
  CHECK(bed.ConditionOf(bed.decode_addresses[1]) == Condition::kDuplicate);
  bed.pool->SetServers(ServerRole::kDecode, {bed.decode_addresses[1]}, "");
  bed.pool->Poll();
  CHECK(bed.Index() == 1);
  info.set_incarnation(78);  // it was started anew
  bed.decodes[1]->SetInfo(info);
  bed.pool->Poll();
  CHECK(bed.Index() == 1);
}

TEST_CASE("a closed pool knows no server") {
  Bed bed(1);
  bed.Start();
  const auto pick = bed.Choose();
  bed.pool->Close();
  CHECK_FALSE(bed.Choose().ok());
  bed.pool->SetServers(ServerRole::kDecode, bed.decode_addresses, "");
  bed.pool->Poll();
  CHECK(bed.pool->State().decode_total == 0);
}

}  // namespace lynx
