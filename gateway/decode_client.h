// What the gateway asks of other servers, without saying how it reaches them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/lynx.pb.h"

namespace lynx {

// Receives one call's events, from any thread, one at a time.
class GenerateSink {
 public:
  virtual ~GenerateSink() = default;
  // False: the receiver is full or gone; the call is cancelled and OnDone follows.
  virtual bool OnEvent(v1::GenerateEvent event) = 0;
  // Exactly once, last. OK only if the server ended the call well.
  virtual void OnDone(absl::Status status) = 0;
};

class GenerateCall {
 public:
  virtual ~GenerateCall() = default;
  virtual void Cancel() = 0;  // any thread, any time, any number of times; OnDone still comes
};

// A server that says how it is.
class InfoClient {
 public:
  virtual ~InfoClient() = default;
  // Does not block; `done` is called once, from any thread, perhaps before this returns.
  virtual void Info(absl::Duration timeout,
                    std::function<void(absl::StatusOr<v1::ServerInfo>)> done) = 0;
};

// Threads: any, at once.
class DecodeClient : public InfoClient {
 public:
  // Does not block. Errors, a passed deadline too, come through `sink`, which is held until OnDone.
  // Dropping the returned handle does not cancel.
  virtual std::shared_ptr<GenerateCall> Generate(v1::GenerateRequest request, absl::Time deadline,
                                                 std::shared_ptr<GenerateSink> sink) = 0;
};

// How servers at an address (host:port) are reached. Any thread; neither blocks nor fails.
struct ServerClients {
  std::function<std::shared_ptr<DecodeClient>(const std::string& address)> decode;
  std::function<std::shared_ptr<InfoClient>(const std::string& address)> prefill;
};

}  // namespace lynx
