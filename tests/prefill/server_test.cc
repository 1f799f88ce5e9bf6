#include "prefill/server.h"

#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>

#include "absl/time/time.h"
#include "proto/lynx.grpc.pb.h"
#include "tests/prefill/run_request.h"

namespace lynx {
namespace {

// A prefill server and a client that plays the decode server.
struct World {
  World() {
    Config config;
    config.model = LYNX_TEST_DATA "/models/tiny-llama.gguf";
    config.prefill.port = config.prefill.data_port = 0;
    config.prefill.metrics_port = -1;
    config.prefill.threads = 1;
    config.prefill.queue_limit = 2;
    config.kv.memory_mib.prefill = 64;
    auto started = prefill::Server::Start(*prefill::MakeServerOptions(config));
    if (!started.ok()) FAIL(started.status().message());
    server = *std::move(started);
    stub = v1::Prefill::NewStub(grpc::CreateChannel(absl::StrCat("127.0.0.1:", server->port()),
                                                    grpc::InsecureChannelCredentials()));
  }

  grpc::Status Join(const v1::JoinRequest& request, v1::JoinReply* reply) {
    grpc::ClientContext context;
    context.set_deadline(Deadline());
    return stub->Join(&context, request, reply);
  }
  v1::JoinRequest GoodJoin() const {
    v1::JoinRequest request;
    *request.mutable_identity() = server->identity();
    request.set_incarnation(42);
    return request;
  }
  std::string Ticket() {
    v1::JoinReply reply;
    REQUIRE(Join(GoodJoin(), &reply).ok());
    return reply.ticket();
  }
  static std::chrono::system_clock::time_point Deadline() {
    return absl::ToChronoTime(absl::Now() + absl::Seconds(60));
  }

  std::unique_ptr<prefill::Server> server;
  std::unique_ptr<v1::Prefill::Stub> stub;
};

v1::DecodeToPrefill RunMessage(const std::string& ticket, int number) {
  v1::DecodeToPrefill message;
  *message.mutable_run() = prefill::SomeRun(number, 100);
  message.mutable_run()->set_ticket(ticket);
  return message;
}

struct RunCall {
  RunCall(World& world, const v1::DecodeToPrefill& first) {
    context.set_deadline(World::Deadline());
    stream = world.stub->Run(&context);
    stream->Write(first);
  }
  bool Read() { return stream->Read(&message); }
  grpc::Status End() {
    while (Read()) {
    }
    return stream->Finish();
  }

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::DecodeToPrefill, v1::PrefillToDecode>> stream;
  v1::PrefillToDecode message;
};

TEST_CASE("prefill server: join compares every field of the identity") {
  World world;
  v1::JoinReply reply;
  CHECK(world.Join(world.GoodJoin(), &reply).ok());
  CHECK(reply.ticket().size() == 32);
  CHECK(reply.incarnation() != 0);
  CHECK(reply.data_address() == absl::StrCat(":", world.server->data_port()));

  const std::vector<std::pair<std::string, std::string* (v1::Identity::*)()>> fields = {
      {"weights_hash", &v1::Identity::mutable_weights_hash},
      {"code_version", &v1::Identity::mutable_code_version},
      {"backend", &v1::Identity::mutable_backend},
      {"architecture", &v1::Identity::mutable_architecture},
      {"kv_target", &v1::Identity::mutable_kv_target}};
  for (const auto& [name, mutable_field] : fields) {
    v1::JoinRequest request = world.GoodJoin();
    *(request.mutable_identity()->*mutable_field)() = "other";
    const grpc::Status status = world.Join(request, &reply);
    CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
    CHECK_THAT(status.error_message(), Catch::Contains("differ in " + name + ":"));
    CHECK_THAT(status.error_message(), Catch::Contains(name + "=other"));
    CHECK_THAT(status.error_message(), Catch::Contains(world.server->identity().weights_hash()));
  }
}

TEST_CASE("prefill server: a decode server with another channel is refused with both names") {
  World world;
  v1::JoinReply reply;
  v1::JoinRequest request = world.GoodJoin();  // says nothing: TCP
  CHECK(world.Join(request, &reply).ok());
  CHECK(reply.channel() == "tcp");
  request.set_channel("tcp");
  CHECK(world.Join(request, &reply).ok());
  request.set_channel("nccl");
  const grpc::Status status = world.Join(request, &reply);
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK_THAT(status.error_message(), Catch::Contains("prefill server's is tcp") &&
                                         Catch::Contains("decode server's is nccl") &&
                                         Catch::Contains("transfer.channel"));
}

TEST_CASE("prefill server: a run needs a ticket that it knows, and a request first") {
  World world;
  CHECK(RunCall(world, RunMessage(std::string(32, 't'), 0)).End().error_code() ==
        grpc::StatusCode::UNAUTHENTICATED);
  CHECK(RunCall(world, RunMessage("short", 0)).End().error_code() ==
        grpc::StatusCode::UNAUTHENTICATED);
  v1::DecodeToPrefill grant;
  grant.mutable_grant();
  CHECK(RunCall(world, grant).End().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  v1::DecodeToPrefill empty = RunMessage(world.Ticket(), 0);
  empty.mutable_run()->clear_prompt();
  CHECK(RunCall(world, empty).End().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("prefill server: runs without transfer, queue limit, drain, info") {
  World world;
  const std::string ticket = world.Ticket();
  v1::DecodeToPrefill first = RunMessage(ticket, 0);
  first.mutable_run()->set_transfer_kv(false);
  {
    RunCall done(world, first);
    REQUIRE(done.Read());
    CHECK(done.message.ready());
    v1::DecodeToPrefill grant;
    grant.mutable_grant();
    done.stream->Write(grant);
    REQUIRE(done.Read());
    CHECK(done.message.has_first_token());
    v1::DecodeToPrefill end;
    end.set_done(true);
    done.stream->Write(end);
    done.stream->WritesDone();
    CHECK(done.End().ok());
  }
  RunCall a(world, RunMessage(ticket, 1));
  RunCall b(world, RunMessage(ticket, 2));
  REQUIRE((a.Read() && b.Read()));  // both are in the queue
  CHECK(RunCall(world, RunMessage(ticket, 3)).End().error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);

  // A snapshot of the last step: both runs are in it soon.
  v1::ServerInfo info;
  for (const absl::Time end = absl::Now() + absl::Seconds(60);
       info.requests_waiting() != 2 && absl::Now() < end;) {
    grpc::ClientContext context;
    REQUIRE(world.stub->Info(&context, {}, &info).ok());
  }
  CHECK(info.role() == "prefill");
  CHECK(info.requests_waiting() == 2);
  CHECK(info.tokens_outstanding() == 200);
  CHECK(info.pages_total() > info.pages_free());
  CHECK(info.pages_free() > 0);
  CHECK(info.max_context() == 8192);
  CHECK((!info.draining() && !info.stalled()));

  world.server->Drain();
  grpc::ClientContext context;
  REQUIRE(world.stub->Info(&context, {}, &info).ok());
  CHECK(info.draining());
  CHECK(RunCall(world, RunMessage(ticket, 4)).End().error_code() == grpc::StatusCode::UNAVAILABLE);
  a.context.TryCancel();
  CHECK(a.End().error_code() == grpc::StatusCode::CANCELLED);
  world.server.reset();  // what still runs is ended with a reason
  CHECK(b.End().error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("prefill server: a decode server that says too much loses its run and its session") {
  World world;
  const std::string ticket = world.Ticket(), other = world.Ticket();
  RunCall honest(world, RunMessage(other, 1));
  REQUIRE(honest.Read());
  RunCall flood(world, RunMessage(ticket, 0));
  REQUIRE(flood.Read());
  CHECK(flood.message.ready());
  v1::DecodeToPrefill not_yet;
  not_yet.mutable_not_yet();
  for (int i = 0; i < 1000 && flood.stream->Write(not_yet); ++i) {
  }
  const grpc::Status status = flood.End();
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK_THAT(status.error_message(), Catch::Contains("not asked for"));
  // The session is closed by another thread, soon.
  grpc::StatusCode code = grpc::StatusCode::OK;
  for (const absl::Time end = absl::Now() + absl::Seconds(60);
       code != grpc::StatusCode::UNAUTHENTICATED && absl::Now() < end;) {
    RunCall again(world, RunMessage(ticket, 2));
    if (again.Read()) again.context.TryCancel();
    code = again.End().error_code();
  }
  CHECK(code == grpc::StatusCode::UNAUTHENTICATED);
  v1::DecodeToPrefill grant;
  grant.mutable_grant();
  REQUIRE(honest.stream->Write(grant));
  while (!honest.message.has_first_token()) REQUIRE(honest.Read());
}

TEST_CASE("prefill server: start errors name what is wrong") {
  Config config;
  CHECK(prefill::MakeServerOptions(config).status().code() == absl::StatusCode::kInvalidArgument);
  config.model = "/nonexistent/model.gguf";
  const auto missing = prefill::Server::Start(*prefill::MakeServerOptions(config));
  CHECK_THAT(std::string(missing.status().message()), Catch::Contains("/nonexistent/model.gguf"));
  World world;
  config.model = LYNX_TEST_DATA "/models/tiny-llama.gguf";
  config.prefill.port = world.server->port();
  config.prefill.data_port = 0;
  config.prefill.metrics_port = -1;
  const auto taken = prefill::Server::Start(*prefill::MakeServerOptions(config));
  CHECK(taken.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(taken.status().message()),
             Catch::Contains(absl::StrCat(world.server->port())));
}

}  // namespace
}  // namespace lynx
