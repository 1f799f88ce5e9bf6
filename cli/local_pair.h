// A prefill and a decode engine in real time in one process: each on a thread of its own, calls for
// the control plane, TCP over loopback for the data plane, the sender's rate limit as the link.
// What `lynx generate` and `lynx bench transfer` measure with.
//
// Threads: Submit, Wait and Generate from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "cli/direct_link.h"
#include "cli/timed_result.h"
#include "decode/engine.h"
#include "model/loader.h"
#include "prefill/engine.h"
#include "runtime/clock.h"
#include "runtime/engine_thread.h"
#include "runtime/wakeup.h"
#include "transfer/receiver.h"
#include "transfer/sender.h"
#include "transfer/tcp_client.h"
#include "transfer/tcp_options.h"
#include "transfer/tcp_server.h"

namespace lynx {

struct LocalPairOptions {
  prefill::EngineOptions prefill;
  decode::EngineOptions decode;
  SendQueueOptions send_queue;
  TcpOptions tcp;
  // Of one request alone either engine computes and the other waits, so both may have all cores;
  // with overlapping requests they compete.
  int prefill_threads = 1;
  int decode_threads = 1;
  Nanos request_timeout = std::chrono::hours(1);
};

class LocalPair final : public decode::RequestSink {
 public:
  // Called on the decode engine's thread after each event was taken in; must not wait.
  using Observer = std::function<void(const TimedResult& so_far)>;
  class Pending;

  // Model and kernels outlive the pair. UNAVAILABLE if loopback cannot be listened on.
  static absl::StatusOr<std::unique_ptr<LocalPair>> Start(const LocalPairOptions& options,
                                                          const LoadedModel& model,
                                                          const Kernels& kernels);
  ~LocalPair() override;

  // Provisional tokens are asked for, so that their times are known; they never change the text.
  // Errors of admission stand in the result's status.
  std::shared_ptr<Pending> Submit(v1::GenerateRequest request, Observer observer = nullptr);
  // Until the request has ended.
  TimedResult Wait(const std::shared_ptr<Pending>& pending);
  TimedResult Generate(v1::GenerateRequest request, Observer observer = nullptr) {
    return Wait(Submit(std::move(request), std::move(observer)));
  }

 private:
  explicit LocalPair(const LocalPairOptions& options);
  absl::Status Open(const LoadedModel& model, const Kernels& kernels);
  absl::StatusOr<DataSession> Connect();
  bool OnEvent(decode::RequestId request, v1::GenerateEvent event) override;
  void OnFinished(decode::RequestId request, const absl::Status& status) override;

  const LocalPairOptions options_;
  const uint64_t sender_incarnation_;
  const uint64_t receiver_incarnation_;
  const SteadyClock clock_;
  Wakeup prefill_wakeup_, decode_wakeup_;
  Sender sender_;
  Receiver receiver_;
  DirectLink control_;
  // The engines go after the channels that use their memory.
  std::unique_ptr<EngineThread<prefill::Engine>> prefill_;
  std::unique_ptr<EngineThread<decode::Engine>> decode_;
  std::unique_ptr<TcpServer> server_;
  std::unique_ptr<TcpClient> client_;

  // Held while a request is submitted, so that its first event finds it.
  absl::Mutex mu_;
  std::map<decode::RequestId, std::shared_ptr<Pending>> open_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
