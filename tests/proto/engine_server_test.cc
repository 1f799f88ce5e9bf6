// Health and the end of an engine server, with an engine that the test holds up.
#include "proto/engine_server.h"

#include <catch2/catch.hpp>

#include "proto/engine_service.h"
#include "proto/health_check.h"
#include "proto/lynx.grpc.pb.h"

namespace lynx {
namespace {

// Its steps last as long as it is held.
struct FakeEngine {
  bool Step() {
    absl::MutexLock lock(&mu);
    mu.Await(absl::Condition(
        +[](bool* held) { return !*held; }, &held));
    return false;
  }
  Nanos NextDeadline() const { return Nanos::max(); }
  void Drain() { draining = true; }

  void Hold(bool hold) {
    absl::MutexLock lock(&mu);
    held = hold;
  }

  absl::Mutex mu;
  bool held = false;
  std::atomic<bool> draining{false};
};

struct FakeService final : v1::Decode::CallbackService {
  void EndCalls(const absl::Status&) { ended = true; }
  int64_t open_calls() const { return 3; }
  std::atomic<bool> ended{false};
};

EngineServerOptions SoonStalled() {
  EngineServerOptions options;
  options.stall_timeout = std::chrono::milliseconds(20);
  return options;
}

struct World {
  World() : server(SoonStalled()) {
    server.StartEngine([](ThreadPool&) { return std::make_unique<FakeEngine>(); });
    auto made = std::make_unique<FakeService>();
    service = made.get();
    REQUIRE(server.Serve({}, std::move(made)).ok());
  }
  ~World() { server.engine().Hold(false); }

  HealthStatus Health() {
    const auto health =
        CheckHealth(absl::StrCat("127.0.0.1:", server.port()), std::chrono::seconds(60));
    REQUIRE(health.ok());
    return *health;
  }
  bool WaitForHealth(HealthStatus wanted) {
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;) {
      if (Health() == wanted) return true;
    }
    return false;
  }

  EngineServer<FakeEngine, FakeService> server;
  FakeService* service = nullptr;
};

}  // namespace

TEST_CASE("engine server: health follows the engine's progress") {
  World world;
  CHECK(world.WaitForHealth(HealthStatus::kServing));
  world.server.engine().Hold(true);
  CHECK(world.WaitForHealth(HealthStatus::kNotServing));
  world.server.engine().Hold(false);
  CHECK(world.WaitForHealth(HealthStatus::kServing));
}

TEST_CASE("engine server: a draining server is not serving, whatever its engine does") {
  World world;
  CHECK(world.WaitForHealth(HealthStatus::kServing));
  world.server.Drain();
  CHECK(world.Health() == HealthStatus::kNotServing);
  CHECK(world.server.engine().draining);
  world.server.engine().Hold(true);
  world.server.engine().Hold(false);
  for (int i = 0; i < 100; ++i) REQUIRE(world.Health() == HealthStatus::kNotServing);
  CHECK_FALSE(world.service->ended);
  world.server.Stop();
  CHECK(world.service->ended);
  world.server.Stop();
}

TEST_CASE("engine server: a port that is taken is an error, and the end is orderly") {
  World world;
  EngineServer<FakeEngine, FakeService> second(SoonStalled());
  second.StartEngine([](ThreadPool&) { return std::make_unique<FakeEngine>(); });
  const absl::Status status = second.Serve(
      {.listen = absl::StrCat("127.0.0.1:", world.server.port())}, std::make_unique<FakeService>());
  CHECK(absl::IsUnavailable(status));
}

}  // namespace lynx
