// Health and the end of an engine server, with an engine that the test holds up.
#include "proto/engine_server.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>

#include "proto/engine_service.h"
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

enum class Health { kUnknown = 0, kServing = 1, kNotServing = 2 };

// What the standard health service says. (Its messages are not installed: an empty request, and an
// answer whose field 1 is the status.)
Health CheckHealth(grpc::GenericStub& stub) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  grpc::CompletionQueue queue;
  grpc::ByteBuffer answer;
  grpc::Status status;
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check",
                                    grpc::ByteBuffer(nullptr, 0), &queue);
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  REQUIRE(status.ok());
  std::vector<grpc::Slice> slices;
  REQUIRE(answer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  REQUIRE(bytes.size() == 2);
  REQUIRE(bytes[0] == 8);  // field 1, varint
  return static_cast<Health>(bytes[1]);
}

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
    stub = std::make_unique<grpc::GenericStub>(grpc::CreateChannel(
        absl::StrCat("127.0.0.1:", server.port()), grpc::InsecureChannelCredentials()));
  }
  ~World() { server.engine().Hold(false); }

  bool WaitForHealth(Health wanted) {
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;) {
      if (CheckHealth(*stub) == wanted) return true;
    }
    return false;
  }

  EngineServer<FakeEngine, FakeService> server;
  FakeService* service = nullptr;
  std::unique_ptr<grpc::GenericStub> stub;
};

}  // namespace

TEST_CASE("engine server: health follows the engine's progress") {
  World world;
  CHECK(world.WaitForHealth(Health::kServing));
  world.server.engine().Hold(true);
  CHECK(world.WaitForHealth(Health::kNotServing));
  world.server.engine().Hold(false);
  CHECK(world.WaitForHealth(Health::kServing));
}

TEST_CASE("engine server: a draining server is not serving, whatever its engine does") {
  World world;
  CHECK(world.WaitForHealth(Health::kServing));
  world.server.Drain();
  CHECK(CheckHealth(*world.stub) == Health::kNotServing);
  CHECK(world.server.engine().draining);
  world.server.engine().Hold(true);
  world.server.engine().Hold(false);
  for (int i = 0; i < 100; ++i) REQUIRE(CheckHealth(*world.stub) == Health::kNotServing);
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
