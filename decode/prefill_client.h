// What is asked of one prefill server, without saying how it is reached.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proto/lynx.pb.h"
#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx::decode {

// What comes back in a run's stream. From any thread, one call at a time.
class RunEvents {
 public:
  virtual ~RunEvents() = default;
  virtual void OnMessage(v1::PrefillToDecode message) = 0;
  virtual void OnDone(const absl::Status& status) = 0;  // exactly once, last
};

// Threads: any.
class RunStream {
 public:
  virtual ~RunStream() = default;
  virtual void Start() = 0;  // once, first
  virtual void Send(v1::DecodeToPrefill message) = 0;
  virtual void CloseSending() = 0;  // after what was sent
  virtual void Cancel() = 0;        // any number of times; OnDone still comes
};

// Threads: any. Nothing waits.
class PrefillClient {
 public:
  using JoinDone = std::function<void(absl::StatusOr<v1::JoinReply>)>;

  virtual ~PrefillClient() = default;
  // `done` is called once, perhaps before this returns.
  virtual void Join(const v1::JoinRequest& request, Nanos timeout, JoinDone done) = 0;
  // A stream that begins with `request` once it is started. It holds `events` until OnDone.
  virtual std::shared_ptr<RunStream> NewRun(v1::RunRequest request, Nanos timeout,
                                            std::shared_ptr<RunEvents> events) = 0;
};

using PrefillClientFactory =
    std::function<std::shared_ptr<PrefillClient>(const std::string& address)>;

}  // namespace lynx::decode
