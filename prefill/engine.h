// The prefill engine: computes prompts in chunks, splits their KV page by page and layer by layer
// as it goes, offers the blocks to the sender, and samples the first token.
//
// Life of a run: Submit -> queued (holds no memory) -> its memory is reserved and `ready` is sent
// -> grant (or not_yet: it goes back to the queue) -> chunks, blocks offered -> first token ->
// waits for done, answers missing -> finished. A run is cancelled by Cancel, its deadline, or the
// end of its data session.
//
// Threads: Submit, Post and Cancel from any thread; everything else, RunSink included, on the
// engine thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "model/backend.h"
#include "model/model_config.h"
#include "prefill/measures.h"
#include "prefill/run.h"
#include "prefill/run_mail.h"
#include "proto/lynx.pb.h"
#include "runtime/clock.h"
#include "runtime/published.h"
#include "runtime/request_trace.h"
#include "runtime/status.h"
#include "transfer/lost_sessions.h"
#include "transfer/sender.h"

namespace lynx::prefill {

// Where a run's messages go. Called on the engine thread; must not wait.
class RunSink {
 public:
  virtual ~RunSink() = default;
  virtual void OnMessage(RunId run, v1::PrefillToDecode message) = 0;
  // The last call for a run. OK after `done`.
  virtual void OnFinished(RunId run, const absl::Status& status) = 0;
};

struct EngineOptions {
  int64_t chunk_tokens = 512;         // rows of a step, over all prompts in it
  size_t kv_budget_bytes = 1u << 30;  // BF16 pages of running prompts, and what is sent
  // On a device with wire memory: host memory of what is sent (code blocks, Tails, packed tokens,
  // raw pages), beside the budget.
  size_t staging_bytes = 1u << 30;
  size_t queue_limit = 256;                             // runs that are not finished
  Nanos not_yet_retry = std::chrono::milliseconds(20);  // how long a run waits after not_yet
  KvTarget target = KvTarget::kInt8;  // of this server; a run that asks for another is refused
  int64_t max_context = 0;            // 0: the model's
  TraceBook* traces = nullptr;        // outlives the engine; null: runs are not traced
  bool log_requests = false;          // a line for each that ends
};

struct EngineStats {
  int64_t running = 0;
  std::array<int64_t, 4> by_phase{};  // as Phase
  int64_t waiting = 0;
  int64_t tokens_outstanding = 0;  // of prompts, not computed yet
  size_t kv_used_bytes = 0;
  size_t kv_budget_bytes = 0;
  uint64_t prompt_tokens = 0;  // computed since the start
  uint64_t steps = 0;          // grows while work makes progress
};

class Engine {
 public:
  // Everything given outlives the engine. `wake`: called from any thread when Step has something
  // new to do.
  Engine(const EngineOptions& options, const ModelConfig& config, std::unique_ptr<Backend> backend,
         const Clock& clock, Sender& sender, RunSink& sink, std::function<void()> wake);
  ~Engine();  // cancels what runs

  // INVALID_ARGUMENT: can never be served. RESOURCE_EXHAUSTED: the queue is full. UNAVAILABLE:
  // draining. The run's messages go to the sink, OnFinished last (also after a Cancel).
  absl::StatusOr<RunId> Submit(v1::RunRequest request, SessionId session, Nanos deadline);
  // A message of the decode server for this run. INVALID_ARGUMENT: more than it may say; cancel the
  // run, and trust it no more. One for a run that has ended is dropped.
  absl::Status Post(RunId run, v1::DecodeToPrefill message);
  void Cancel(RunId run, absl::Status why);

  // Refuses new runs from now on.
  void Drain() { draining_ = true; }

  // Does what there is to do, at most one pass of the model. False: nothing until a wake or
  // NextDeadline().
  bool Step();
  // When Step has something to do without a wake; Nanos::max() if nothing is timed.
  Nanos NextDeadline() const;

  // Any thread: a snapshot of the last step.
  EngineStats stats() const { return stats_.Get(); }
  const EngineMeasures& measures() const { return measures_; }  // any thread

 private:
  // What other threads want of the engine thread.
  struct Mail {
    std::vector<std::unique_ptr<Run>> submitted;
    std::map<RunId, RunMail> letters;  // of every unfinished run
    std::vector<std::pair<RunId, absl::Status>> cancelled;
  };

  absl::Status Validate(const v1::RunRequest& request) const;
  absl::StatusOr<std::unique_ptr<Run>> MakeRun(v1::RunRequest request, SessionId session,
                                               Nanos deadline) const;

  // engine_mail.cc: what decode servers say, and are told.
  bool ReadMail();
  void TakeIn(std::unique_ptr<Run> run);
  void Tell(const Run& run, v1::PrefillToDecode message);
  void OnMessage(Run& run, const v1::DecodeToPrefill& message);
  void OnGrant(Run& run);
  void OnRawGrant(Run& run);
  void OnMissing(Run& run, const v1::Missing& missing);

  bool HandleSenderEvents();
  bool ExpireRuns();
  bool AskForGrants();
  void CountEnd(const Run& run, const absl::Status& status);
  void Finish(RunId id, const absl::Status& status);
  void PublishStats();

  // engine_pass.cc: the model's passes.
  bool RunChunk();
  // Of the runs of the current pass: their new blocks in a layer are queued, then offered.
  void QueueLayer(int layer, std::span<const int64_t> counts);
  void OfferLayer(int layer);
  void FinishChunk(Run& run, int64_t row_base, int64_t count);
  void SendPromptLogprobs(Run& run, int64_t row_base, int64_t count);
  absl::Status SendFirstToken(Run& run, int64_t last_row);

  const EngineOptions options_;
  const ModelConfig& config_;
  const std::unique_ptr<Backend> backend_;
  const Clock& clock_;
  Sender& sender_;
  RunSink& sink_;
  const std::function<void()> wake_;
  const std::unique_ptr<Transformer> transformer_;
  const std::unique_ptr<RowSampler> row_sampler_;
  KvPool page_pool_;
  std::unique_ptr<KvPool> sent_pool_;  // null: what is sent lies in page_pool_
  const KvPlaces places_;

  std::atomic<uint64_t> next_run_{1};
  std::atomic<int64_t> unfinished_{0};
  std::atomic<bool> draining_{false};

  // Bounded: at most queue_limit runs are unfinished, their letters by RunMail, and a run's call
  // cancels it at most three times (its end, a letter that is refused, its cancellation).
  absl::Mutex mail_mu_;
  Mail mail_ ABSL_GUARDED_BY(mail_mu_);

  std::vector<Run*> pass_runs_;                        // of the current pass
  std::vector<std::vector<LayerBlocks>> pass_blocks_;  // [layers, runs of the pass]

  EngineMeasures measures_;
  uint64_t prompt_tokens_ = 0;
  uint64_t steps_ = 0;

  std::map<RunId, std::unique_ptr<Run>> runs_;  // in order of arrival
  LostSessions lost_sessions_;                  // a run may be taken in after its session's end
  // Ended runs whose blocks the sender may still read.
  std::map<TransferKey, std::unique_ptr<Run>> awaiting_release_;

  Published<EngineStats> stats_;
};

}  // namespace lynx::prefill
