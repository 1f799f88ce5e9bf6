// Attempts, joins and sessions of decode/peers.h against a prefill server that the test plays.
#include "decode/peers.h"

#include <catch2/catch.hpp>

#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "model/cpu_backend.h"
#include "model/loader.h"
#include "runtime/wakeup.h"
#include "transfer/sender.h"
#include "transfer/tcp_client.h"
#include "transfer/tcp_server.h"

namespace lynx::decode {
namespace {

struct FakeRun final : RunStream {
  void Start() override {
    absl::MutexLock lock(&mu);
    started = true;
  }
  void Send(v1::DecodeToPrefill message) override {
    absl::MutexLock lock(&mu);
    sent.push_back(std::move(message));
  }
  void CloseSending() override {
    absl::MutexLock lock(&mu);
    closed = true;
  }
  void Cancel() override { End(absl::CancelledError("cancelled")); }
  void End(const absl::Status& status) {
    if (auto e = std::exchange(events, nullptr)) e->OnDone(status);
  }

  v1::RunRequest request;
  std::shared_ptr<RunEvents> events;
  absl::Mutex mu;
  bool started = false;
  bool closed = false;
  std::vector<v1::DecodeToPrefill> sent;
};

struct FakeClient final : PrefillClient {
  void Join(const v1::JoinRequest&, Nanos, JoinDone done) override {
    absl::MutexLock lock(&mu);
    joins.push_back(std::move(done));
  }
  std::shared_ptr<RunStream> NewRun(v1::RunRequest request, Nanos,
                                    std::shared_ptr<RunEvents> events) override {
    auto run = std::make_shared<FakeRun>();
    run->request = std::move(request);
    run->events = std::move(events);
    absl::MutexLock lock(&mu);
    runs.push_back(run);
    return run;
  }

  // Answers the join number `i`, if that has not been done.
  void EndJoin(size_t i, absl::StatusOr<v1::JoinReply> answer) {
    if (JoinDone done = std::exchange(joins.at(i), nullptr)) done(std::move(answer));
  }
  size_t join_count() {
    absl::MutexLock lock(&mu);
    return joins.size();
  }
  // The run number `i`, once it is started.
  std::shared_ptr<FakeRun> Run(size_t i) {
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;) {
      {
        absl::MutexLock lock(&mu);
        if (runs.size() > i) {
          absl::MutexLock run_lock(&runs[i]->mu);
          if (runs[i]->started) return runs[i];
        }
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
    FAIL("the run does not start");
    return nullptr;
  }

  absl::Mutex mu;
  std::vector<JoinDone> joins;
  std::vector<std::shared_ptr<FakeRun>> runs;
};

struct Finished : RequestSink {
  bool OnEvent(RequestId, v1::GenerateEvent) override { return true; }
  void OnFinished(RequestId, const absl::Status& status) override { statuses.push_back(status); }
  std::vector<absl::Status> statuses;
};

TcpServerOptions ServerData() {
  TcpServerOptions options;
  options.incarnation = 7;
  return options;
}

TcpClientOptions ClientData() {
  TcpClientOptions options;
  options.incarnation = 8;
  return options;
}

// A client whose sessions give way to others, as pairs of NCCL do.
struct ForgetfulClient final : DataClient {
  explicit ForgetfulClient(DataClient& client) : client(client) {}
  absl::StatusOr<SessionId> Dial(const DialRequest& request) override {
    return client.Dial(request);
  }
  SessionHold HoldSession(SessionId session) override {
    if (to_forget-- > 0) return nullptr;
    SessionHold hold = client.HoldSession(session);
    last_hold = hold;
    return hold;
  }
  void CloseSession(SessionId session) override { client.CloseSession(session); }
  DataClientStats stats() const override { return client.stats(); }
  bool Close() override { return client.Close(); }

  DataClient& client;
  int to_forget = 0;
  std::weak_ptr<const SessionId> last_hold;
};

// A real engine, stepped by the test, whose peers speak to the fake.
struct World {
  explicit World(const PeersOptions& options = {})
      : model(*LoadModel(LYNX_TEST_DATA "/models/tiny-llama.gguf")),
        sender(SendQueueOptions{}),
        server(*TcpServer::Start(ServerData(), &sender)),
        client(*TcpClient::Start(ClientData(), &receiver)),
        peers(
            options, [this](const std::string&) { return fake; }, forgetful, clock),
        engine(EngineOptions{}, model.config,
               std::make_unique<CpuBackend>(model.config, model.weights, *SelectKernels(), pool),
               clock, receiver, peers, sink, [] {}) {
    peers.Bind(&engine);
  }
  ~World() {
    for (size_t i = 0; i < fake->joins.size(); ++i) fake->EndJoin(i, absl::CancelledError("end"));
    peers.Close();
    client.reset();
  }

  void Submit(const std::string& address = "127.0.0.1:1") {
    v1::GenerateRequest request;
    for (int i = 0; i < 70; ++i) request.add_prompt(3 + i);
    request.set_max_tokens(4);
    request.mutable_sampling()->set_top_p(1);
    request.mutable_sampling()->set_repetition_penalty(1);
    request.set_logprobs(-1);
    request.set_prompt_logprobs(-1);
    request.add_prefill_addresses(address);
    REQUIRE(engine.Submit(std::move(request), clock.Now() + std::chrono::seconds(60)).ok());
    engine.Step();
  }
  std::string AnswerJoin(size_t i, const std::string& data_host = "",
                         const std::string& channel = "") {
    const IssuedTicket issued = *server->IssueTicket(8);
    v1::JoinReply reply;
    reply.set_incarnation(7);
    reply.set_data_address(absl::StrCat(data_host, ":", server->port()));
    reply.set_ticket(std::string(issued.ticket.begin(), issued.ticket.end()));
    reply.set_channel(channel);
    fake->EndJoin(i, reply);
    return reply.ticket();
  }

  LoadedModel model;
  SteadyClock clock;
  ThreadPool pool{1};
  Sender sender;
  Receiver receiver;
  std::unique_ptr<TcpServer> server;
  std::unique_ptr<TcpClient> client;
  ForgetfulClient forgetful{*client};
  std::shared_ptr<FakeClient> fake = std::make_shared<FakeClient>();
  Finished sink;
  Peers peers;
  Engine engine;
};

// Steps the engine until so many requests have ended.
void WaitForStatuses(World& world, size_t count) {
  for (const absl::Time end = absl::Now() + absl::Seconds(60);
       world.sink.statuses.size() < count && absl::Now() < end;) {
    world.engine.Step();
  }
  REQUIRE(world.sink.statuses.size() == count);
}

TEST_CASE("peers: attempts share one join, later ones its session") {
  World world;
  world.Submit();
  world.Submit();
  CHECK(world.fake->join_count() == 1);
  const std::string ticket = world.AnswerJoin(0);
  CHECK(world.fake->Run(0)->request.ticket() == ticket);
  CHECK(world.fake->Run(1)->request.ticket() == ticket);
  world.Submit();
  CHECK(world.fake->Run(2)->request.ticket() == ticket);
  CHECK(world.fake->join_count() == 1);
}

TEST_CASE("peers: a failed join ends all that wait, and the next attempt joins anew") {
  World world;
  world.Submit();
  world.Submit();
  world.fake->EndJoin(0, absl::DeadlineExceededError("late"));
  world.engine.Step();
  REQUIRE(world.sink.statuses.size() == 2);
  CHECK(absl::IsUnavailable(world.sink.statuses[0]));
  CHECK(absl::IsUnavailable(world.sink.statuses[1]));
  world.Submit();
  CHECK(world.fake->join_count() == 2);
  world.fake->EndJoin(1, absl::FailedPreconditionError("identities differ"));
  world.engine.Step();
  CHECK(absl::IsFailedPrecondition(world.sink.statuses.at(2)));
}

TEST_CASE("peers: a server that does not know the ticket is joined anew, once") {
  World world;
  world.Submit();
  world.AnswerJoin(0);
  world.fake->Run(0)->End(absl::UnauthenticatedError("unknown ticket"));
  REQUIRE(world.fake->join_count() == 2);
  const std::string ticket = world.AnswerJoin(1);
  CHECK(world.fake->Run(1)->request.ticket() == ticket);
  CHECK(world.fake->Run(1)->request.prompt_size() == 70);
  world.engine.Step();
  CHECK(world.sink.statuses.empty());
  world.fake->Run(1)->End(absl::UnauthenticatedError("unknown ticket"));
  world.engine.Step();
  REQUIRE(world.sink.statuses.size() == 1);
  CHECK(absl::IsUnavailable(world.sink.statuses[0]));
  CHECK(world.fake->join_count() == 2);
}

TEST_CASE("peers: a session that gave way to another is joined anew, once") {
  World world;
  world.Submit();
  world.AnswerJoin(0);
  world.fake->Run(0);
  world.forgetful.to_forget = 1;
  world.Submit();
  REQUIRE(world.fake->join_count() == 2);
  const std::string ticket = world.AnswerJoin(1);
  CHECK(world.fake->Run(1)->request.ticket() == ticket);
  world.forgetful.to_forget = 2;
  world.Submit();
  REQUIRE(world.fake->join_count() == 3);
  world.AnswerJoin(2);
  WaitForStatuses(world, 1);
  CHECK(absl::IsUnavailable(world.sink.statuses[0]));
  CHECK(world.fake->join_count() == 3);
}

TEST_CASE("peers: an attempt holds its session until its run has ended") {
  World world;
  world.Submit();
  world.AnswerJoin(0);
  const std::shared_ptr<FakeRun> run = world.fake->Run(0);
  CHECK_FALSE(world.forgetful.last_hold.expired());
  run->End(absl::UnavailableError("gone"));
  CHECK(world.forgetful.last_hold.expired());
}

TEST_CASE("peers: a prefill server with another channel is refused with both names") {
  for (const auto& [ours, theirs] : {std::pair("", "nccl"), std::pair("nccl", "")}) {
    PeersOptions options;
    options.join.set_channel(ours);
    World world(options);
    world.Submit();
    world.AnswerJoin(0, "", theirs);
    WaitForStatuses(world, 1);
    CHECK(absl::IsFailedPrecondition(world.sink.statuses[0]));
    const std::string words(world.sink.statuses[0].message());
    CHECK_THAT(words, Catch::Contains("tcp") && Catch::Contains("nccl") &&
                          Catch::Contains("transfer.channel"));
  }
  World world;
  world.Submit();
  world.AnswerJoin(0, "", "tcp");
  world.fake->Run(0);
}

TEST_CASE("peers: after a lost session the next attempt joins anew") {
  World world;
  world.Submit();
  world.AnswerJoin(0);
  world.fake->Run(0);
  world.server.reset();  // closes the data connections
  WaitForStatuses(world, 1);
  CHECK(absl::IsUnavailable(world.sink.statuses[0]));
  world.Submit();
  CHECK(world.fake->join_count() == 2);
}

// Ends when it is told to, like a name server that does not answer.
struct HangingLookup {
  NameResolver::Addresses operator()(const std::string&, uint16_t) const {
    absl::MutexLock lock(&state->mu);
    ++state->waiting;
    state->mu.Await(absl::Condition(&state->end));
    --state->waiting;
    return absl::UnavailableError("told to end");
  }
  void WaitFor(int waiting) const {
    absl::MutexLock lock(&state->mu);
    const auto reached = [this, waiting]()
                             ABSL_NO_THREAD_SAFETY_ANALYSIS { return state->waiting == waiting; };
    REQUIRE(state->mu.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(60)));
  }
  void End() const {
    {
      absl::MutexLock lock(&state->mu);
      state->end = true;
    }
    WaitFor(0);
  }

  struct State {
    absl::Mutex mu;
    int waiting = 0;
    bool end = false;
  };
  std::shared_ptr<State> state = std::make_shared<State>();
};

TEST_CASE("peers: a data host whose name is not resolved holds no other server up") {
  const HangingLookup lookup;
  {
    PeersOptions options;
    options.resolve_timeout = std::chrono::hours(1);
    options.lookup = lookup;
    World world(options);
    world.Submit();
    world.AnswerJoin(0, "hangs.example");
    lookup.WaitFor(1);
    world.Submit("127.0.0.1:2");
    world.AnswerJoin(1);
    world.fake->Run(0);  // of the second server
    CHECK(world.sink.statuses.empty());
    lookup.End();  // the peers close when every join has ended
  }
}

TEST_CASE("peers: a name that is not resolved in time fails the attempt") {
  const HangingLookup lookup;
  {
    PeersOptions options;
    options.resolve_timeout = std::chrono::milliseconds(1);
    options.lookup = lookup;
    World world(options);
    world.Submit();
    world.AnswerJoin(0, "hangs.example");
    for (const absl::Time end = absl::Now() + absl::Seconds(60);
         world.sink.statuses.empty() && absl::Now() < end;) {
      world.engine.Step();
    }
    REQUIRE(world.sink.statuses.size() == 1);
    CHECK(absl::IsUnavailable(world.sink.statuses[0]));
    CHECK_THAT(std::string(world.sink.statuses[0].message()), Catch::Contains("hangs.example"));
    world.Submit();
    CHECK(world.fake->join_count() == 2);
  }
  lookup.WaitFor(1);  // its thread outlives the world, and touches nothing
  lookup.End();
}

TEST_CASE(
    "name resolver: numbers are not looked up, hanging names are limited and told at the end") {
  const HangingLookup lookup;
  absl::Mutex mu;
  std::vector<absl::StatusCode> codes;
  const auto done = [&](const NameResolver::Addresses& addresses) {
    absl::MutexLock lock(&mu);
    codes.push_back(addresses.status().code());
  };
  {
    NameResolver resolver(std::chrono::hours(1), lookup);
    for (int i = 0; i < NameResolver::kThreadsMax; ++i) resolver.Resolve("name", 1, done);
    CHECK(codes.empty());
    resolver.Resolve("one.more", 1, done);
    resolver.Resolve("127.0.0.1", 1, done);
    resolver.Resolve("::1", 1, done);
    CHECK(codes == std::vector{absl::StatusCode::kResourceExhausted, absl::StatusCode::kOk,
                               absl::StatusCode::kOk});
  }
  CHECK(codes.size() == 3 + NameResolver::kThreadsMax);
  CHECK(codes.back() == absl::StatusCode::kCancelled);
  lookup.WaitFor(NameResolver::kThreadsMax);
  lookup.End();
}

TEST_CASE("name resolver: names are looked up side by side") {
  NameResolver resolver(std::chrono::hours(1));
  absl::BlockingCounter counter(4);
  std::atomic<int> found{0};
  for (int i = 0; i < 4; ++i) {
    resolver.Resolve("localhost", 80, [&](const NameResolver::Addresses& addresses) {
      found += addresses.ok() && !addresses->empty();
      counter.DecrementCount();
    });
  }
  counter.Wait();
  CHECK(found == 4);
}

TEST_CASE("peers: a server that says too much loses its session") {
  World world;
  world.Submit();
  world.AnswerJoin(0);
  for (const absl::Time end = absl::Now() + absl::Seconds(60);
       world.server->stats().sessions_up == 0 && absl::Now() < end;) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  REQUIRE(world.server->stats().sessions_up == 1);
  v1::PrefillToDecode all_sent;
  all_sent.set_all_sent(true);
  const std::shared_ptr<RunEvents> events = world.fake->Run(0)->events;
  for (int i = 0; i < 1000; ++i) events->OnMessage(all_sent);
  world.engine.Step();
  REQUIRE(world.sink.statuses.size() == 1);
  CHECK(absl::IsUnavailable(world.sink.statuses[0]));
  CHECK_THAT(std::string(world.sink.statuses[0].message()), Catch::Contains("all_sent"));
  for (const absl::Time end = absl::Now() + absl::Seconds(60);
       world.server->stats().sessions_lost == 0 && absl::Now() < end;) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  CHECK(world.server->stats().sessions_lost == 1);
  world.Submit();
  CHECK(world.fake->join_count() == 2);
}

TEST_CASE("peers: cancelling while the join is under way starts no run") {
  World world;
  world.Submit();
  world.engine.Cancel(RequestId{1});
  world.engine.Step();
  world.Submit();
  world.AnswerJoin(0);
  world.fake->Run(0);
  absl::MutexLock lock(&world.fake->mu);
  CHECK(world.fake->runs.size() == 1);
}

}  // namespace
}  // namespace lynx::decode
