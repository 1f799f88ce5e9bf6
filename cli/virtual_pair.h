// A prefill and a decode engine on virtual time in one thread, with a simulated data plane between
// them: every run with the same options and seed is the same. For tests of whole requests, and for
// benches of machines and links that are not at hand.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cli/direct_link.h"
#include "cli/timed_result.h"
#include "decode/engine.h"
#include "model/loader.h"
#include "prefill/engine.h"
#include "runtime/clock.h"
#include "runtime/thread_pool.h"
#include "transfer/receiver.h"
#include "transfer/sender.h"
#include "transfer/sim_link.h"

namespace lynx {

struct VirtualPairOptions {
  prefill::EngineOptions prefill;
  decode::EngineOptions decode;
  SimLinkOptions link;
  SendQueueOptions send_queue;
  // What a step that ran a pass costs, in virtual time. What it gives is there at its start, so
  // small chunks come closer to a machine that sends layer by layer.
  Nanos prefill_step = std::chrono::milliseconds(20);
  Nanos prefill_token{0};  // for each prompt token computed, beside it
  Nanos decode_step = std::chrono::milliseconds(5);
  Nanos request_timeout = std::chrono::seconds(600);
};

class VirtualPair final : public decode::RequestSink {
 public:
  // On the CPU. Model, kernels and pool outlive the pair.
  VirtualPair(const VirtualPairOptions& options, const LoadedModel& model, const Kernels& kernels,
              ThreadPool& pool);
  // The config, and what the backends stand on, outlive the pair.
  VirtualPair(const VirtualPairOptions& options, const ModelConfig& config,
              std::unique_ptr<Backend> prefill, std::unique_ptr<Backend> decode);
  ~VirtualPair() override;

  // The result is filled in while Run goes on; valid as long as the pair. Errors of Submit stand in
  // its status.
  const Collected& Submit(v1::GenerateRequest request) {
    return SubmitTimed(std::move(request)).collected;
  }
  // The same, with times: a token is known at the end of the step that gave it.
  const TimedResult& SubmitTimed(v1::GenerateRequest request);
  void Cancel(const Collected& request);

  // Called with each event of every request once it was found to keep the protocol. False: the
  // receiver is gone, the request is cancelled.
  using Observer = std::function<bool(const Collected& request, const v1::GenerateEvent& event)>;
  void set_observer(Observer observer) { observer_ = std::move(observer); }

  // Goes on until every request has ended, or `steps_max` steps were made. INTERNAL: nothing can
  // happen any more but a request is open, or a request's events break the protocol.
  absl::Status Run(int64_t steps_max = INT64_MAX);

  // The prefill server dies and comes back: its runs and the data session end.
  void RestartPrefill();
  // The data session ends.
  void CutLink();

  Nanos now() const { return clock_.Now(); }
  decode::EngineStats decode_stats() const { return decode_->stats(); }
  prefill::EngineStats prefill_stats() const { return prefill_->stats(); }
  const SimLinkStats& link_stats() const { return link_->stats(); }

 private:
  bool OnEvent(decode::RequestId request, v1::GenerateEvent event) override;
  void OnFinished(decode::RequestId request, const absl::Status& status) override;
  bool StepAll();
  Nanos NextEvent() const;
  bool Open() const;

  struct Result {
    Nanos submitted{0};
    TimedResult timed;
  };
  const VirtualPairOptions options_;
  ManualClock clock_;
  Sender sender_;
  Receiver receiver_;
  std::unique_ptr<DirectLink> control_;
  std::unique_ptr<prefill::Engine> prefill_;
  std::unique_ptr<decode::Engine> decode_;
  std::unique_ptr<SimLink> link_;  // last: ends before the engines whose memory it moves
  SessionId session_{};
  Nanos prefill_free_at_{0}, decode_free_at_{0};
  std::map<decode::RequestId, Result*> open_;
  std::vector<std::unique_ptr<Result>> results_;
  Observer observer_;
  absl::Status protocol_error_;
};

}  // namespace lynx
