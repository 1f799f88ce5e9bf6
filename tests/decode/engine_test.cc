// The decode engine stepped by the test, which plays prefill servers and the data plane.
#include "decode/engine.h"

#include <catch2/catch.hpp>

#include "model/cpu_backend.h"
#include "model/loader.h"
#include "proto/convert.h"

namespace lynx::decode {
namespace {

constexpr int kPromptTokens = 130;  // two full pages
constexpr SessionId kSession{1};

struct FakePeers final : PrefillPeers {
  void Start(AttemptId attempt, const std::string& address, v1::RunRequest run, Nanos) override {
    started[address] = attempt;
    runs[attempt] = std::move(run);
  }
  void Send(AttemptId attempt, v1::DecodeToPrefill message) override {
    sent[attempt].push_back(std::move(message));
  }
  void Cancel(AttemptId attempt) override { cancelled.push_back(attempt); }
  void Distrust(AttemptId attempt) override { distrusted.push_back(attempt); }
  void SessionLost(SessionId) override {}

  std::map<std::string, AttemptId> started;
  std::map<AttemptId, v1::RunRequest> runs;
  std::map<AttemptId, std::vector<v1::DecodeToPrefill>> sent;
  std::vector<AttemptId> cancelled, distrusted;
};

struct Recorder final : RequestSink {
  bool OnEvent(RequestId, v1::GenerateEvent) override { return true; }
  void OnFinished(RequestId request, const absl::Status& status) override {
    finished[request] = status;
  }
  std::map<RequestId, absl::Status> finished;
};

v1::GenerateRequest MakeRequest(std::vector<std::string> addresses, int64_t max_tokens = 8,
                                int logprobs = -1) {
  v1::GenerateRequest request;
  for (int i = 0; i < kPromptTokens; ++i) request.add_prompt(3 + i);
  request.set_max_tokens(max_tokens);
  request.mutable_sampling()->set_top_p(1);
  request.mutable_sampling()->set_repetition_penalty(1);
  request.set_logprobs(logprobs);
  request.set_prompt_logprobs(logprobs);
  for (std::string& address : addresses) request.add_prefill_addresses(std::move(address));
  return request;
}

v1::PrefillToDecode Ready() {
  v1::PrefillToDecode message;
  message.set_ready(true);
  return message;
}
v1::PrefillToDecode AllSent() {
  v1::PrefillToDecode message;
  message.set_all_sent(true);
  return message;
}
v1::PrefillToDecode FirstToken(int alternatives = 0) {
  v1::PrefillToDecode message;
  message.mutable_first_token()->mutable_token()->set_id(5);
  for (int i = 0; i < alternatives; ++i) {
    message.mutable_first_token()->mutable_token()->add_top()->set_id(i);
  }
  return message;
}
v1::PrefillToDecode RawPages(int pages) {
  v1::PrefillToDecode message;
  message.mutable_raw_pages();
  for (int i = 0; i < pages; ++i) message.mutable_raw_pages()->add_pages()->set_page(i);
  return message;
}
v1::PrefillToDecode PromptLogprobs(int64_t first, int tokens, int alternatives = 0) {
  v1::PrefillToDecode message;
  message.mutable_prompt_logprobs()->set_first_position(first);
  for (int i = 0; i < tokens; ++i) {
    v1::TokenInfo* token = message.mutable_prompt_logprobs()->add_tokens();
    for (int k = 0; k < alternatives; ++k) token->add_top()->set_id(k);
  }
  return message;
}
v1::PrefillToDecode Padded(v1::PrefillToDecode message) {
  v1::PrefillToDecode::GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(
      1000, std::string(1000, 'x'));
  return message;
}

struct World {
  explicit World(EngineOptions options = {})
      : engine(options, model.config,
               std::make_unique<CpuBackend>(model.config, model.weights, *SelectKernels(), pool),
               clock, receiver, peers, recorder, [] {}) {
    receiver.OnSession({.session = kSession, .up = true});
  }

  RequestId Submit(v1::GenerateRequest request) {
    const RequestId id = *engine.Submit(std::move(request), clock.Now() + std::chrono::hours(1));
    engine.Step();
    return id;
  }
  AttemptId AttemptAt(const std::string& address) {
    const AttemptId attempt = peers.started.at(address);
    engine.OnAttemptStarted(attempt, kSession);
    return attempt;
  }

  LoadedModel model = *LoadModel(LYNX_TEST_DATA "/models/tiny-llama.gguf");
  ManualClock clock;
  ThreadPool pool{1};
  Receiver receiver;
  FakePeers peers;
  Recorder recorder;
  Engine engine;
};

// A frame as the data plane brings it.
void Deliver(Receiver& receiver, const FrameHeader& header, std::span<const std::byte> payload) {
  const std::unique_ptr<Landing> landing = receiver.Begin(kSession, header);
  while (!payload.empty()) {
    iovec part[1];
    REQUIRE(landing->Prepare(part) == 1);
    const size_t bytes = std::min(part[0].iov_len, payload.size());
    std::memcpy(part[0].iov_base, payload.data(), bytes);
    landing->Commit(bytes);
    payload = payload.subspan(bytes);
  }
  landing->Finish();
}

struct Flood {
  const char* name;
  std::function<v1::PrefillToDecode(int)> message;  // number i of it
};

}  // namespace

TEST_CASE("decode engine: what would not fit into sampling's memory is refused by its name") {
  World world;
  const auto refused = [&](v1::GenerateRequest request) {
    const absl::Status status =
        world.engine.Submit(std::move(request), world.clock.Now() + std::chrono::hours(1)).status();
    CHECK((status.ok() || absl::IsInvalidArgument(status)));
    return std::string(status.message());
  };
  using Catch::Matchers::StartsWith;
  v1::GenerateRequest request = MakeRequest({"a"}, 8, kTopLogprobsLimit);
  for (int64_t i = 0; i < kStopIdsMax; ++i) request.add_stop_token_ids(i % 100);
  CHECK(refused(request).empty());
  request.add_stop_token_ids(1);
  CHECK_THAT(refused(request), StartsWith("stop_token_ids: 1025"));

  request = MakeRequest({"a"});
  for (int i = 0; i <= kLogitBiasesMax; ++i) (*request.mutable_sampling()->mutable_logit_bias())[i];
  CHECK_THAT(refused(request), StartsWith("logit_bias: 4097"));
  request = MakeRequest({"a"});
  request.set_logprobs(kTopLogprobsLimit + 1);
  CHECK_THAT(refused(request), StartsWith("logprobs: 1001"));
  request.set_logprobs(0);
  request.set_prompt_logprobs(kTopLogprobsLimit + 1);
  CHECK_THAT(refused(request), StartsWith("prompt_logprobs: 1001"));
}

TEST_CASE("decode engine: a prefill server that floods fails its attempt and nothing else") {
  const std::vector<Flood> floods = {
      {"ready", [](int) { return Ready(); }},
      {"all_sent", [](int) { return AllSent(); }},
      {"a first token", [](int) { return FirstToken(); }},
      {"a raw page", [](int) { return RawPages(1000); }},
      {"a raw page", [](int) { return RawPages(0); }},
      {"a prompt token's values", [](int i) { return PromptLogprobs(i + 1, 1); }},
      {"alternatives", [](int) { return FirstToken(1); }},
      {"bytes", [](int) { return Padded(Ready()); }},
  };
  for (const Flood& flood : floods) {
    INFO(flood.name);
    World world;
    const RequestId victim = world.Submit(MakeRequest({"hostile", "honest"}));
    const RequestId other = world.Submit(MakeRequest({"other"}, 1));
    const AttemptId hostile = world.AttemptAt("hostile");
    // All at once: no step of the engine comes between.
    for (int i = 0; i < 10'000; ++i) world.engine.OnPrefillMessage(hostile, flood.message(i));
    world.engine.OnPrefillMessage(world.AttemptAt("other"), FirstToken());
    world.engine.Step();

    CHECK(world.peers.distrusted == std::vector<AttemptId>{hostile});
    CHECK(std::count(world.peers.cancelled.begin(), world.peers.cancelled.end(), hostile) == 1);
    REQUIRE(world.recorder.finished.contains(other));
    CHECK(world.recorder.finished[other].ok());
    // Nothing of the request is committed: another server may do it. Otherwise it fails, and says
    // why.
    if (world.recorder.finished.contains(victim)) {
      const absl::Status& status = world.recorder.finished[victim];
      CHECK(absl::IsUnavailable(status));
      CHECK_THAT(std::string(status.message()), Catch::Contains(flood.name));
      CHECK_THAT(std::string(status.message()), Catch::Contains("hostile"));
      CHECK(std::string(flood.name) == "a first token");
    } else {
      CHECK(world.peers.started.contains("honest"));
    }
  }
}

TEST_CASE("decode engine: everything that a run can have is let through") {
  World world;
  const RequestId id = world.Submit(MakeRequest({"a"}, 8, 2));
  const AttemptId attempt = world.AttemptAt("a");
  world.engine.OnPrefillMessage(attempt, Ready());
  world.engine.Step();
  for (int i = 1; i < kPromptTokens; ++i) {
    world.engine.OnPrefillMessage(attempt, PromptLogprobs(i, 1, 2));
  }
  for (int layer = 0; layer < world.model.config.layers; ++layer) {
    for (int page = 0; page < kPromptTokens / kPageTokens; ++page) {
      v1::PrefillToDecode message = RawPages(1);
      message.mutable_raw_pages()->mutable_pages(0)->set_layer(layer);
      message.mutable_raw_pages()->mutable_pages(0)->set_page(page);
      world.engine.OnPrefillMessage(attempt, message);
    }
  }
  world.engine.OnPrefillMessage(attempt, FirstToken(2));
  world.engine.OnPrefillMessage(attempt, AllSent());
  world.engine.OnPrefillMessage(attempt, v1::PrefillToDecode());  // of a newer server
  world.engine.Step();
  CHECK_FALSE(world.recorder.finished.contains(id));
  CHECK(world.peers.distrusted.empty());
  const auto& sent = world.peers.sent[attempt];
  CHECK(std::count_if(sent.begin(), sent.end(), [](const auto& m) { return m.has_raw_grant(); }) ==
        world.model.config.layers * (kPromptTokens / kPageTokens));

  world.engine.OnPrefillMessage(attempt, PromptLogprobs(kPromptTokens, 1));
  world.engine.Step();
  CHECK(world.peers.distrusted == std::vector<AttemptId>{attempt});
  CHECK(absl::IsUnavailable(world.recorder.finished[id]));
}

TEST_CASE("decode engine: what comes out of order is the server's fault, not the client's") {
  const std::vector<std::pair<std::string, v1::PrefillToDecode>> messages = {
      {"raw pages before the grant", RawPages(1)},
      {"unexpected prompt log-probabilities", PromptLogprobs(2, 1)},
      {"unexpected first token", [] {
         v1::PrefillToDecode message = FirstToken();
         message.mutable_first_token()->mutable_token()->set_id(1 << 30);
         return message;
       }()}};
  for (const auto& [what, message] : messages) {
    INFO(what);
    World world;
    const RequestId id = world.Submit(MakeRequest({"a"}, 8, 0));
    const AttemptId attempt = world.AttemptAt("a");
    world.engine.OnPrefillMessage(attempt, message);
    world.engine.Step();
    REQUIRE(world.recorder.finished.contains(id));
    CHECK(absl::IsUnavailable(world.recorder.finished[id]));
    CHECK_THAT(std::string(world.recorder.finished[id].message()), Catch::Contains(what));
    CHECK(world.peers.distrusted == std::vector<AttemptId>{attempt});
  }
}

TEST_CASE("decode engine: each \"not yet\" lets the prefill ask once more") {
  EngineOptions options;
  World probe;
  const RequestId first = probe.Submit(MakeRequest({"a"}));
  probe.engine.OnPrefillMessage(probe.AttemptAt("a"), Ready());
  probe.engine.Step();
  options.kv_budget_bytes = probe.engine.stats().kv_used_bytes;  // of one request
  REQUIRE(options.kv_budget_bytes > 0);
  CHECK_FALSE(probe.recorder.finished.contains(first));

  World world(options);
  world.Submit(MakeRequest({"holder"}));
  world.engine.OnPrefillMessage(world.AttemptAt("holder"), Ready());
  world.engine.Step();
  const RequestId id = world.Submit(MakeRequest({"waits"}));
  const AttemptId attempt = world.AttemptAt("waits");
  for (int i = 0; i < 50; ++i) {
    world.engine.OnPrefillMessage(attempt, Ready());
    world.engine.Step();
  }
  CHECK(world.peers.sent[attempt].size() == 50);
  CHECK(world.peers.sent[attempt].back().has_not_yet());
  CHECK_FALSE(world.recorder.finished.contains(id));
  world.engine.OnPrefillMessage(attempt, Ready());
  world.engine.OnPrefillMessage(attempt, Ready());
  world.engine.Step();
  CHECK(absl::IsUnavailable(world.recorder.finished[id]));
}

TEST_CASE("decode engine: a broken block is asked for at once, lost ones after the gap's time") {
  World world;
  world.Submit(MakeRequest({"a"}));
  const AttemptId attempt = world.AttemptAt("a");
  world.engine.OnPrefillMessage(attempt, Ready());
  world.engine.Step();
  auto& sent = world.peers.sent[attempt];
  REQUIRE(sent.size() == 1);
  REQUIRE(sent.back().has_grant());

  const v1::RunRequest& run = world.peers.runs.at(attempt);
  const KvShape shape = FromProto(run.format(), world.model.config)->shape;
  const std::vector<std::byte> payload(kSinkTokens * PackedTokenBytes(shape), std::byte{1});
  const FrameHeader header = {.kind = BlockKind::kSinks,
                              .transfer = {*TransferIdFromBytes(run.transfer_id()), run.epoch()},
                              .layer = 1,
                              .payload_bytes = payload.size(),
                              .payload_checksum = PayloadChecksum(payload) + 1};
  Deliver(world.receiver, header, payload);
  world.engine.Step();
  REQUIRE(sent.size() == 2);
  REQUIRE(sent.back().has_missing());
  const auto& blocks = sent.back().missing().blocks();
  CHECK(std::any_of(blocks.begin(), blocks.end(), [](const v1::BlockId& block) {
    return block.layer() == 1 && block.kind() == static_cast<uint32_t>(BlockKind::kSinks);
  }));

  world.engine.OnPrefillMessage(attempt, AllSent());
  world.engine.Step();
  world.clock.Advance(EngineOptions().gap_timeout - Nanos(1));
  world.engine.Step();
  CHECK(sent.size() == 2);
  world.clock.Advance(Nanos(1));
  world.engine.Step();
  REQUIRE(sent.size() == 3);
  CHECK(sent.back().has_missing());
}

TEST_CASE("run allowance: the largest honest messages are within their bytes") {
  v1::RunRequest run;
  for (int i = 0; i < kPromptTokens; ++i) run.add_prompt(1);
  run.set_logprobs(20);
  run.set_prompt_logprobs(20);
  run.set_transfer_kv(true);
  const KvGeometry geometry{
      .layers = 2, .shape = {1, 32}, .split = {5, 4}, .target = KvTarget::kInt8};
  RunAllowance allowance(run, geometry);
  const auto fill = [](v1::TokenInfo* token) {
    token->set_id(INT32_MAX);
    token->set_logprob(-1e300);
    for (int i = 0; i < 20; ++i) {
      v1::TopLogprob* top = token->add_top();
      top->set_id(INT32_MAX);
      top->set_logprob(-1e300);
    }
  };
  v1::PrefillToDecode first, prompt, raw;
  fill(first.mutable_first_token()->mutable_token());
  first.mutable_first_token()->set_ends_text(true);
  prompt.mutable_prompt_logprobs()->set_first_position(INT64_MAX);
  for (int i = 1; i < kPromptTokens; ++i) fill(prompt.mutable_prompt_logprobs()->add_tokens());
  for (int i = 0; i < 4; ++i) {
    v1::BlockId* id = raw.mutable_raw_pages()->add_pages();
    id->set_layer(UINT32_MAX);
    id->set_kind(UINT32_MAX);
    id->set_page(UINT32_MAX);
  }
  CHECK(allowance.Take(first).ok());
  CHECK(allowance.Take(prompt).ok());
  CHECK(allowance.Take(raw).ok());
}

}  // namespace lynx::decode
