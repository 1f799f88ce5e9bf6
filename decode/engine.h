// The decode engine: owns a request from admission to its last token. It asks prefill servers for
// the prompt's KV, drafts on the Anchor, verifies with the target, decodes, and tells the client's
// sink.
//
// Threads: Submit, Cancel and the On... functions from any thread; everything else, sinks and peers
// included, on the engine thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <variant>
#include <vector>

#include "decode/measures.h"
#include "decode/request.h"
#include "decode/run_allowance.h"
#include "model/backend.h"
#include "model/model_config.h"
#include "runtime/clock.h"
#include "runtime/published.h"
#include "runtime/request_trace.h"
#include "runtime/status.h"
#include "transfer/lost_sessions.h"
#include "transfer/receiver.h"

namespace lynx::decode {

// Where a request's events go. Called on the engine thread; must not wait.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  // False: the client does not keep up or is gone; the request is cancelled.
  virtual bool OnEvent(RequestId request, v1::GenerateEvent event) = 0;
  // The last call for a request. OK after a Finished event.
  virtual void OnFinished(RequestId request, const absl::Status& status) = 0;
};

// The way to prefill servers. Called on the engine thread; must not wait. What comes back is told
// to the engine's On... functions, from any thread.
class PrefillPeers {
 public:
  virtual ~PrefillPeers() = default;
  // Joins the server if that has not been done, fills in the ticket and sends the request.
  virtual void Start(AttemptId attempt, const std::string& address, v1::RunRequest request,
                     Nanos deadline) = 0;
  virtual void Send(AttemptId attempt, v1::DecodeToPrefill message) = 0;
  // Ends an attempt from our side; nothing more is told of it.
  virtual void Cancel(AttemptId attempt) = 0;
  // The attempt's server broke the protocol: ends its data session. Cancel follows.
  virtual void Distrust(AttemptId attempt) = 0;
  // This data session is gone for good: the next attempt joins anew.
  virtual void SessionLost(SessionId session) = 0;
};

struct EngineOptions {
  KvTarget target = KvTarget::kInt8;
  KvSplit split;
  int64_t max_draft_tokens = 64;
  int64_t rows_max = 256;  // query rows of a step
  size_t kv_budget_bytes = 1u << 30;
  // On a device with wire memory: host memory that prompts' KV lands in, beside the budget.
  size_t staging_bytes = 1u << 30;
  size_t queue_limit = 256;  // requests that are not finished
  int64_t max_context = 0;   // 0: the model's
  // No block for so long after the prefill has offered all: ask for the missing ones again.
  Nanos gap_timeout = std::chrono::milliseconds(500);
  int64_t restore_pages_per_step = 256;  // Tails turned into BF16 between two passes
  TraceBook* traces = nullptr;           // outlives the engine; null: requests are not traced
  bool log_requests = false;             // a line for each that ends
};

struct EngineStats {
  int64_t running = 0;  // hold KV memory
  int64_t waiting = 0;
  std::array<int64_t, 4> by_state{};  // kWaiting, kDrafting, kVerifying, kDecoding
  int64_t quarantined_pages = 0;
  int64_t tokens_outstanding = 0;  // prompts, and what may be generated
  size_t kv_used_bytes = 0;
  size_t kv_budget_bytes = 0;
  int64_t quarantined_transfers = 0;
  uint64_t generated_tokens = 0;
  uint64_t drafted = 0;
  uint64_t accepted = 0;
  uint64_t rolled_back = 0;
  uint64_t steps = 0;  // grows while work makes progress
};

class Engine {
 public:
  // Everything given outlives the engine. `wake`: called from any thread when Step has something
  // new to do.
  Engine(const EngineOptions& options, const ModelConfig& config, std::unique_ptr<Backend> backend,
         const Clock& clock, Receiver& receiver, PrefillPeers& peers, RequestSink& sink,
         std::function<void()> wake);
  ~Engine();  // after the channels that write into granted memory

  // INVALID_ARGUMENT: can never be served. RESOURCE_EXHAUSTED: the queue is full. UNAVAILABLE:
  // draining.
  absl::StatusOr<RequestId> Submit(v1::GenerateRequest request, Nanos deadline);
  void Cancel(RequestId request);

  // Of an attempt: the data session that its blocks come through (before any message), messages,
  // and its end (OK: the server closed the run after `done`). A server that says more than the run
  // can have fails its attempt, whatever it says after that is dropped.
  void OnAttemptStarted(AttemptId attempt, SessionId session);
  void OnPrefillMessage(AttemptId attempt, v1::PrefillToDecode message);
  void OnAttemptEnded(AttemptId attempt, absl::Status status);

  // Refuses new requests from now on.
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
  struct Submitted {
    std::unique_ptr<Request> request;
  };
  struct Cancelled {
    RequestId request;
  };
  struct Started {
    AttemptId attempt;
    SessionId session;
  };
  struct FromPrefill {
    AttemptId attempt;
    v1::PrefillToDecode message;
  };
  struct Ended {
    AttemptId attempt;
    absl::Status status;
    bool distrusted = false;
  };
  using Mail = std::variant<Submitted, Cancelled, Started, FromPrefill, Ended>;

  // One request's rows of a pass.
  struct RowGroup {
    Request* request = nullptr;
    State state = State::kDecoding;  // kDrafting, kVerifying or kDecoding
    std::vector<int32_t> tokens{};
    int64_t first_index = 0;              // of the generated token tokens[0]
    std::vector<SampledToken> sampled{};  // up to the first that is not the row behind
  };

  absl::Status Validate(const v1::GenerateRequest& request) const;
  void CountEnd(const Request& request, const absl::Status& status);
  void Post(Mail mail);
  bool ReadMail();
  void OnEnded(const Ended& ended);
  Request* Find(AttemptId attempt);

  // engine_transfer.cc: the way to the prompt's KV.
  void StartAttempt(Request& request);
  void OnMessage(Request& request, const v1::PrefillToDecode& message);
  void OnReady(Request& request);
  void OnFirstToken(Request& request, const v1::FirstToken& first);
  void GrantRawPages(Request& request);
  bool RawPagesWait() const;
  void OnPromptLogprobs(Request& request, const v1::PromptLogprobs& logprobs);
  void AttemptFailed(Request& request, const absl::Status& status);
  void Distrust(Request& request, const absl::Status& status);
  void CloseAttempt(Request& request);
  void ForgetAttempt(Request& request);
  void ReleaseKv(Request& request);
  bool TakeCompletions();
  bool HandleReceiverEvents(std::span<const ReceiverEvent> events);
  bool CheckTimers();
  bool RestoreTails();
  void TimeArrivals(Request& request);
  void AskForMissing(Request& request);
  void KvComplete(Request& request);

  // engine_pass.cc: the model's passes.
  bool RunPass();
  bool Advance(Request& request);
  // False: it does not fit into this pass.
  bool AddGroup(Request& request, std::vector<RowGroup>* groups, int64_t* rows);
  void CountPass(std::span<const RowGroup> groups, int64_t rows, Nanos began);
  void SampleRows(std::vector<RowGroup>& groups);
  void FinishGroup(RowGroup& group);
  void FinishDraft(RowGroup& group);
  void FinishVerification(RowGroup& group);
  void SecondToken(Request& request, bool committed);
  void EmitCommitted(Request& request, int64_t first_index, std::vector<v1::TokenInfo> infos);

  void Emit(Request& request, v1::GenerateEvent event);
  void Complete(Request& request);
  void Fail(Request& request, const absl::Status& status);
  void Remove(Request& request, const absl::Status& status);
  double MsSince(const Request& request) const;
  void PublishStats();

  const EngineOptions options_;
  const ModelConfig& config_;
  const std::unique_ptr<Backend> backend_;
  const Clock& clock_;
  Receiver& receiver_;
  PrefillPeers& peers_;
  RequestSink& sink_;
  const std::function<void()> wake_;
  const KvGeometry geometry_;
  const std::unique_ptr<Transformer> transformer_;
  const std::unique_ptr<RowSampler> row_sampler_;
  KvPool kv_pool_;
  std::unique_ptr<KvPool> landing_pool_;  // null: blocks land in their pages

  std::atomic<uint64_t> next_request_{1};
  std::atomic<int64_t> unfinished_{0};
  std::atomic<bool> draining_{false};
  uint64_t next_attempt_ = 1;
  RequestId last_served_{};  // where the next pass begins, if not all fit into one

  absl::Mutex mail_mu_;
  // At most queue_limit requests are open. Each is submitted once and cancelled at most twice; each
  // of its attempts starts at most three times (twice to join anew), ends once, and says no more
  // than its allowance.
  std::vector<Mail> mail_ ABSL_GUARDED_BY(mail_mu_);
  std::map<AttemptId, RunAllowance> allowances_ ABSL_GUARDED_BY(mail_mu_);  // of open attempts

  std::map<RequestId, std::unique_ptr<Request>> requests_;  // in order of arrival
  std::map<AttemptId, Request*> attempts_;
  std::map<TransferKey, Request*> transfers_;
  LostSessions lost_sessions_;  // an attempt may be told of its session after the session's end
  std::vector<RequestId> removable_;  // ended in this step
  // Memory of ended requests that a frame is landing in.
  std::map<TransferKey, std::unique_ptr<KvSequence>> quarantine_;

  EngineMeasures measures_;
  EngineStats totals_;
  Published<EngineStats> stats_;
};

}  // namespace lynx::decode
