// The control plane between a decode and a prefill engine of one process: what gRPC does between
// servers, as calls.
//
// Threads: any; each engine calls it on its own thread and is told through its thread-safe
// functions.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "absl/synchronization/mutex.h"
#include "decode/engine.h"
#include "prefill/engine.h"

namespace lynx {

// A data session as its two ends name it.
struct DataSession {
  SessionId sender{};
  SessionId receiver{};
};

class DirectLink final : public prefill::RunSink, public decode::PrefillPeers {
 public:
  // `connect` opens a data session; called when there is none, on the decode engine's thread.
  explicit DirectLink(std::function<absl::StatusOr<DataSession>()> connect)
      : connect_(std::move(connect)) {}

  // Both engines, before anything else is called. They outlive every call.
  void Attach(prefill::Engine* prefill, decode::Engine* decode) {
    prefill_ = prefill;
    decode_ = decode;
  }

  // The prefill server dies: all its runs end with UNAVAILABLE, none is told to it any more.
  void KillRuns();

  // decode::PrefillPeers
  void Start(decode::AttemptId attempt, const std::string& address, v1::RunRequest request,
             Nanos deadline) override;
  void Send(decode::AttemptId attempt, v1::DecodeToPrefill message) override;
  void Cancel(decode::AttemptId attempt) override;
  void Distrust(decode::AttemptId) override {}  // nobody to protect from within one process
  void SessionLost(SessionId session) override;

  // prefill::RunSink
  void OnMessage(prefill::RunId run, v1::PrefillToDecode message) override;
  void OnFinished(prefill::RunId run, const absl::Status& status) override;

 private:
  std::optional<decode::AttemptId> Forget(prefill::RunId run);

  const std::function<absl::StatusOr<DataSession>()> connect_;
  prefill::Engine* prefill_ = nullptr;
  decode::Engine* decode_ = nullptr;

  // Held while a run is submitted, so that its first message finds it in the maps.
  absl::Mutex mu_;
  std::optional<DataSession> session_ ABSL_GUARDED_BY(mu_);
  std::map<prefill::RunId, decode::AttemptId> attempts_ ABSL_GUARDED_BY(mu_);
  std::map<decode::AttemptId, prefill::RunId> runs_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
