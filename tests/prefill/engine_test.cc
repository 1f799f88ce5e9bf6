// The prefill engine stepped by the test, which plays the decode server and the data plane.
#include "prefill/engine.h"

#include <catch2/catch.hpp>

#include "model/cpu_backend.h"
#include "model/loader.h"
#include "proto/convert.h"
#include "tests/prefill/run_request.h"

namespace lynx::prefill {
namespace {

struct Recorder final : RunSink {
  void OnMessage(RunId run, v1::PrefillToDecode message) override {
    messages[run].push_back(std::move(message));
  }
  void OnFinished(RunId run, const absl::Status& status) override { finished[run] = status; }

  std::map<RunId, std::vector<v1::PrefillToDecode>> messages;
  std::map<RunId, absl::Status> finished;
};

struct World {
  World() { sender.OnSession({.session = SessionId{1}, .up = true}); }

  RunId Submit(int number, SessionId session = SessionId{1}, bool transfer_kv = true) {
    v1::RunRequest run = SomeRun(number, 130);
    run.set_transfer_kv(transfer_kv);
    return *engine.Submit(std::move(run), session, clock.Now() + std::chrono::hours(1));
  }
  absl::Status Grant(RunId run) {
    v1::DecodeToPrefill message;
    message.mutable_grant();
    return engine.Post(run, std::move(message));
  }
  void StepUntilIdle() {
    while (engine.Step()) {
    }
  }
  bool HasFirstToken(RunId run) {
    for (const v1::PrefillToDecode& m : recorder.messages[run]) {
      if (m.has_first_token()) return true;
    }
    return false;
  }

  LoadedModel model = *LoadModel(LYNX_TEST_DATA "/models/tiny-llama.gguf");
  ManualClock clock;
  ThreadPool pool{1};
  Sender sender{SendQueueOptions{}};
  Recorder recorder;
  Engine engine{EngineOptions{},
                model.config,
                std::make_unique<CpuBackend>(model.config, model.weights, *SelectKernels(), pool),
                clock,
                sender,
                recorder,
                [] {}};
};

v1::DecodeToPrefill Missing(uint32_t page, int blocks = 1) {
  v1::DecodeToPrefill message;
  message.mutable_missing();
  for (int i = 0; i < blocks; ++i) message.mutable_missing()->add_blocks()->set_page(page);
  return message;
}

}  // namespace

TEST_CASE("prefill engine: a session that ends before its run is taken in ends the run") {
  World world;
  world.Submit(0);
  world.StepUntilIdle();
  const RunId late = world.Submit(1);
  const RunId without_data = world.Submit(2, SessionId{1}, false);
  const RunId elsewhere = world.Submit(3, SessionId{2});
  SECTION("told in an earlier step") {
    // The step that hears of the session's end reads its mail first: so this one submits behind it.
    world.sender.OnSession({SessionId{1}, false, absl::UnavailableError("gone")});
    world.StepUntilIdle();
    const RunId later = world.Submit(4);
    world.StepUntilIdle();
    REQUIRE(world.recorder.finished.contains(later));
    CHECK(absl::IsUnavailable(world.recorder.finished[later]));
    CHECK(world.recorder.messages[later].empty());
  }
  SECTION("told in the same step") {
    world.sender.OnSession({SessionId{1}, false, absl::UnavailableError("gone")});
    world.StepUntilIdle();
  }
  CHECK(absl::IsUnavailable(world.recorder.finished[late]));
  CHECK_FALSE(world.recorder.finished.contains(without_data));
  CHECK_FALSE(world.recorder.finished.contains(elsewhere));
  CHECK(world.engine.stats().waiting == 2);
}

TEST_CASE("prefill engine: lost sessions are forgotten in the order of their ends") {
  World world;
  for (uint64_t id = 2; id < 3000; ++id) {
    world.sender.OnSession({SessionId{id}, false, absl::UnavailableError("gone")});
  }
  world.StepUntilIdle();
  world.sender.OnSession({SessionId{1}, false, absl::UnavailableError("gone")});
  world.StepUntilIdle();
  const RunId run = world.Submit(0);  // of the oldest session, which ended last
  world.StepUntilIdle();
  CHECK(absl::IsUnavailable(world.recorder.finished[run]));
}

TEST_CASE("prefill engine: what would not fit into sampling's memory is refused") {
  World world;
  const auto refused = [&](const v1::RunRequest& run) {
    return absl::IsInvalidArgument(
        world.engine.Submit(run, SessionId{1}, world.clock.Now() + std::chrono::hours(1)).status());
  };
  v1::RunRequest run = SomeRun(0, 10);
  run.set_logprobs(kTopLogprobsLimit);
  run.set_prompt_logprobs(kTopLogprobsLimit);
  for (int64_t i = 0; i < kStopIdsMax; ++i) run.add_stop_token_ids(i % 100);
  CHECK_FALSE(refused(run));
  run.add_stop_token_ids(1);
  CHECK(refused(run));
  run = SomeRun(1, 10);
  run.set_logprobs(kTopLogprobsLimit + 1);
  CHECK(refused(run));
  run = SomeRun(1, 10);
  run.set_prompt_logprobs(kTopLogprobsLimit + 1);
  CHECK(refused(run));
  run = SomeRun(1, 10);
  for (int i = 0; i <= kLogitBiasesMax; ++i) (*run.mutable_sampling()->mutable_logit_bias())[i];
  CHECK(refused(run));
}

TEST_CASE("prefill engine: a decode server that floods one run harms no other") {
  World world;
  const RunId hostile = world.Submit(0);
  const RunId honest = world.Submit(1);
  world.StepUntilIdle();
  REQUIRE(world.Grant(hostile).ok());
  REQUIRE(world.Grant(honest).ok());
  CHECK(absl::IsInvalidArgument(world.Grant(hostile)));
  for (int i = 0; i < 100'000; ++i) REQUIRE(world.engine.Post(hostile, Missing(0)).ok());
  CHECK(absl::IsInvalidArgument(world.engine.Post(hostile, Missing(0, kMissingBlocksMax + 1))));
  world.engine.Cancel(hostile, absl::InvalidArgumentError("flood"));
  world.StepUntilIdle();
  CHECK(absl::IsInvalidArgument(world.recorder.finished[hostile]));
  CHECK(world.HasFirstToken(honest));
  CHECK(world.Grant(hostile).ok());  // over: dropped
}

TEST_CASE("run mail: what may be said, and once more") {
  RunMail mail;
  v1::DecodeToPrefill grant, not_yet, raw_grant, promote, done, run, empty;
  grant.mutable_grant();
  not_yet.mutable_not_yet();
  raw_grant.mutable_raw_grant();
  promote.set_promote(true);
  done.set_done(true);
  run.mutable_run();
  v1::PrefillToDecode ready, raw_pages;
  ready.set_ready(true);
  raw_pages.mutable_raw_pages()->add_pages();

  for (const auto& unasked : {grant, not_yet, raw_grant, run, empty}) {
    CHECK(absl::IsInvalidArgument(mail.Add(unasked)));
  }
  CHECK(mail.Take().empty());

  mail.Told(ready);
  CHECK(mail.Add(not_yet).ok());
  CHECK_FALSE(mail.Add(grant).ok());
  mail.Told(ready);
  CHECK(mail.Add(grant).ok());
  mail.Told(raw_pages);
  mail.Told(raw_pages);
  CHECK(mail.Add(Missing(1)).ok());
  CHECK(mail.Add(raw_grant).ok());
  CHECK(mail.Add(raw_grant).ok());
  CHECK_FALSE(mail.Add(raw_grant).ok());
  CHECK(mail.Add(promote).ok());
  CHECK_FALSE(mail.Add(promote).ok());
  CHECK(mail.Add(Missing(2, kMissingBlocksMax)).ok());
  CHECK_FALSE(mail.Add(Missing(3, kMissingBlocksMax + 1)).ok());
  CHECK(mail.Add(done).ok());
  CHECK_FALSE(mail.Add(done).ok());

  const std::vector<v1::DecodeToPrefill> letters = mail.Take();
  REQUIRE(letters.size() == 7);
  CHECK(letters[0].has_not_yet());
  CHECK(letters[1].has_grant());
  CHECK(letters[2].missing().blocks_size() == kMissingBlocksMax);  // the newest question
  CHECK(letters[5].promote());
  CHECK(letters[6].done());
  CHECK(mail.Take().empty());
  CHECK(mail.Add(Missing(4)).ok());
}

TEST_CASE("run mail: bytes that no field accounts for are refused") {
  RunMail mail;
  v1::PrefillToDecode ready;
  ready.set_ready(true);
  mail.Told(ready);
  v1::DecodeToPrefill padded;
  padded.mutable_grant();
  v1::DecodeToPrefill::GetReflection()->MutableUnknownFields(&padded)->AddLengthDelimited(
      1000, std::string(1000, 'x'));
  CHECK(absl::IsInvalidArgument(mail.Add(padded)));
  v1::DecodeToPrefill largest = Missing(UINT32_MAX, kMissingBlocksMax);
  for (v1::BlockId& id : *largest.mutable_missing()->mutable_blocks()) {
    id.set_layer(UINT32_MAX);
    id.set_kind(UINT32_MAX);
  }
  CHECK(mail.Add(largest).ok());
}

}  // namespace lynx::prefill
