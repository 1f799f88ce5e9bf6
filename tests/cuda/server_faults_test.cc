// Prefill and decode processes over the fake NCCL that die, hang or are cancelled at every stage of
// a transfer: the request ends with a clear error or the right text, memory comes back, and the
// next request is served.
//
// The stages are told by what the client has seen, over a link so slow that each lasts: no token
// (prompt queued or computed), a first token (the Anchor is on its way), a provisional one (the
// Anchor is in, the Residual is on its way), a second committed one (all is in).
#include "tests/cuda/server_processes.h"

namespace lynx {
namespace {

// Of an Anchor of some 100 KB: many seconds.
const char kSlow[] = "--transfer.link_rate_mbit=0.1";
const char kFast[] = "--transfer.link_rate_mbit=20";
const char kNccl[] = "--transfer.channel=nccl";

enum class Stage { kNoToken, kAnchor, kResidual, kDecoding };

// What decides that a peer is gone comes from the control plane; these limits only matter where it
// stays and hangs.
std::vector<std::string> Flags(const char* link) {
  return {kNccl, link, "--transfer.nccl.operation_timeout_s=5",
          "--transfer.nccl.abort_timeout_s=2"};
}

struct World {
  World() : fixture(kServedModel, NewReferenceBackend, 256) {}

  v1::GenerateRequest Request(int64_t length, uint64_t seed) const {
    v1::GenerateRequest request = fixture.Request(fixture.Prompt(length, seed), 12);
    request.set_ignore_eos(true);
    request.set_emission(v1::EMISSION_SPECULATIVE);
    return request;
  }
  // The request is served, by one of the prefill servers, and its text is right.
  void CheckServed(ServerProcess& decode, const std::vector<ServerProcess*>& prefills,
                   uint64_t seed) {
    const v1::GenerateRequest request = Request(70, seed);
    Collected got;
    // The first calls may still meet the connection of a peer that is gone.
    const bool served = Eventually([&] {
      ProcessCall call(decode, request, prefills);
      const bool ok = call.End().ok();
      got = call.got;
      return ok;
    });
    INFO(got.status << decode.Log());
    REQUIRE(served);
    RequireEqual(got, fixture.Reference(request, {}));
  }

  PairFixture fixture;
};

bool Reach(Stage stage, ProcessCall& call, ServerProcess& prefill) {
  switch (stage) {
    case Stage::kNoToken:
      return Eventually([&] { return prefill.Info().tokens_outstanding() > 0; });
    case Stage::kAnchor:
      return call.ReadFirstToken();
    case Stage::kResidual:
      return call.ReadFirstToken() && call.ReadUntil([](const Collected& c) {
        return static_cast<int64_t>(c.tokens.size()) > c.committed;
      });
    case Stage::kDecoding:
      return call.ReadUntil([](const Collected& c) { return c.committed > 1; });
  }
  return false;
}

// Slow where the transfer must have a middle.
const char* LinkOf(Stage stage) { return stage == Stage::kDecoding ? kFast : kSlow; }

void CheckPrefillDies(Stage stage) {
  World world;
  ServerProcess decode("decode", Flags(kFast));
  ServerProcess next("prefill", Flags(kFast));
  {
    ServerProcess prefill("prefill", Flags(LinkOf(stage)));
    ProcessCall call(decode, world.Request(200, 1), {&prefill});
    const bool reached = Reach(stage, call, prefill);
    INFO(prefill.Log() << decode.Log());
    REQUIRE(reached);
    prefill.Kill();
    const grpc::Status status = call.End();
    if (stage == Stage::kDecoding) {
      CHECK(status.ok());  // it has all that it needs
    } else {
      CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
      CHECK_FALSE(status.error_message().empty());
    }
  }
  CHECK(decode.AwaitIdle());
  world.CheckServed(decode, {&next}, 2);
  decode.Stop();
  next.Stop();
}

void CheckDecodeDies(Stage stage) {
  World world;
  ServerProcess prefill("prefill", Flags(LinkOf(stage)));
  ServerProcess next("decode", Flags(kFast));
  {
    ServerProcess decode("decode", Flags(kFast));
    ProcessCall call(decode, world.Request(200, 1), {&prefill});
    const bool reached = Reach(stage, call, prefill);
    INFO(prefill.Log() << decode.Log());
    REQUIRE(reached);
    decode.Kill();
    CHECK(call.End().error_code() == grpc::StatusCode::UNAVAILABLE);
  }
  CHECK(prefill.AwaitIdle());
  // The prompt is short enough for the slow link.
  const v1::GenerateRequest request = world.Request(30, 3);
  ProcessCall call(next, request, {&prefill});
  call.End();
  INFO(prefill.Log() << next.Log());
  RequireEqual(call.got, world.fixture.Reference(request, {}));
  next.Stop();
  prefill.Stop();
}

}  // namespace

TEST_CASE("a prefill process dies before the first token", "[prefill][early]") {
  CheckPrefillDies(Stage::kNoToken);
}
TEST_CASE("a prefill process dies while it sends the Anchor", "[prefill][early]") {
  CheckPrefillDies(Stage::kAnchor);
}
TEST_CASE("a prefill process dies while it sends the Residual", "[prefill][late]") {
  CheckPrefillDies(Stage::kResidual);
}
TEST_CASE("a prefill process dies when it has sent all", "[prefill][late]") {
  CheckPrefillDies(Stage::kDecoding);
}
TEST_CASE("a decode process dies before the first token", "[decode][early]") {
  CheckDecodeDies(Stage::kNoToken);
}
TEST_CASE("a decode process dies while it receives the Anchor", "[decode][early]") {
  CheckDecodeDies(Stage::kAnchor);
}
TEST_CASE("a decode process dies while it receives the Residual", "[decode][late]") {
  CheckDecodeDies(Stage::kResidual);
}
TEST_CASE("a decode process dies while it decodes", "[decode][late]") {
  CheckDecodeDies(Stage::kDecoding);
}

TEST_CASE("a prefill process hangs, and serves again when it goes on", "[hang]") {
  World world;
  ServerProcess decode("decode", Flags(kFast));
  ServerProcess prefill("prefill", Flags(kSlow));
  {
    ProcessCall call(decode, world.Request(200, 1), {&prefill});
    REQUIRE(call.ReadFirstToken());
    prefill.Signal(SIGSTOP);
    const grpc::Status status = call.End();
    CHECK((status.error_code() == grpc::StatusCode::UNAVAILABLE ||
           status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED));
  }
  CHECK(decode.AwaitIdle());
  prefill.Signal(SIGCONT);
  world.CheckServed(decode, {&prefill}, 2);
  CHECK(prefill.AwaitIdle());
  decode.Stop();
  prefill.Stop();
}

TEST_CASE("a request is cancelled beside another that is on its way", "[cancel]") {
  World world;
  ServerProcess decode("decode", Flags(kFast));
  ServerProcess prefill("prefill", Flags("--transfer.link_rate_mbit=0.5"));
  const v1::GenerateRequest request = world.Request(100, 2);
  ProcessCall cancelled(decode, world.Request(200, 1), {&prefill});
  REQUIRE(cancelled.ReadFirstToken());
  ProcessCall stays(decode, request, {&prefill});
  REQUIRE(stays.ReadFirstToken());
  cancelled.Cancel();
  CHECK(cancelled.End().error_code() == grpc::StatusCode::CANCELLED);
  stays.End();
  INFO(prefill.Log() << decode.Log());
  RequireEqual(stays.got, world.fixture.Reference(request, {}));
  CHECK(decode.AwaitIdle());
  CHECK(prefill.AwaitIdle());
  decode.Stop();
  prefill.Stop();
}

TEST_CASE("servers of different channels refuse each other with both names", "[refused]") {
  World world;
  ServerProcess nccl("prefill", Flags(kFast));
  ServerProcess tcp("prefill", {"--transfer.channel=tcp"});
  ServerProcess decode_nccl("decode", Flags(kFast));
  ServerProcess decode_tcp("decode", {"--transfer.channel=tcp"});
  const auto refused = [&](ServerProcess& decode, ServerProcess& prefill) {
    ProcessCall call(decode, world.Request(70, 1), {&prefill});
    const grpc::Status status = call.End();
    CHECK_FALSE(status.ok());
    CHECK_THAT(status.error_message(), Catch::Contains("nccl") && Catch::Contains("tcp") &&
                                           Catch::Contains("transfer.channel"));
  };
  refused(decode_nccl, tcp);
  refused(decode_tcp, nccl);
  // Among several servers the one that fits is found.
  world.CheckServed(decode_nccl, {&tcp, &nccl}, 2);
  world.CheckServed(decode_tcp, {&nccl, &tcp}, 3);
  for (ServerProcess* server : {&nccl, &tcp, &decode_nccl, &decode_tcp}) server->Stop();
}

TEST_CASE("NCCL without a GPU, a GPU that is not there or too small end the start", "[refused]") {
  ServerProcess cpu("prefill", {kNccl, "--prefill.device=cpu", "--decode.device=emulated"});
  CHECK(cpu.AwaitEnd() == "exit code 1");
  CHECK(cpu.Logged("transfer.channel is nccl"));
  ServerProcess gone("decode", {kNccl, "--decode.gpu=7"});
  CHECK(gone.AwaitEnd() == "exit code 1");
  CHECK(gone.Logged("start_failed"));
  ServerProcess full("prefill", {kNccl, "--transfer.nccl.max_pairs=1024"});
  CHECK(full.AwaitEnd() == "exit code 1");
  CHECK(full.Logged("for NCCL (transfer.nccl.max_pairs)"));
}

}  // namespace lynx
