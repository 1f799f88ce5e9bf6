// The calls behind one HTTP request: one Generate call for each choice, each tried on a second
// decode server if the first refuses, or does not answer any more, before it said anything.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/decode_client.h"
#include "gateway/event_inbox.h"
#include "gateway/progress.h"
#include "gateway/server_pool.h"
#include "runtime/request_trace.h"

namespace lynx {

struct ChoiceEvent {
  int64_t choice = 0;
  v1::GenerateEvent event;
};

// Used by one coroutine on one strand; only what Abandoner() returns may be called elsewhere. When
// it goes, every call that still runs is cancelled.
class Generation {
 public:
  // `pool` and `progress` outlive this. `requests`: one for each choice, without prefill addresses.
  // `trace` may be null.
  Generation(const boost::asio::any_io_executor& executor, ServerPool* pool,
             ProgressMonitor* progress, std::vector<v1::GenerateRequest> requests,
             absl::Time deadline, size_t max_buffered, TracePtr trace);
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // Starts every call. UNAVAILABLE: no server.
  absl::Status Start();

  // The next events of choices that are not closed, in order for each choice; at least one. An
  // error ends the request: a server's, CANCELLED when the client is gone, RESOURCE_EXHAUSTED when
  // it is too slow.
  boost::asio::awaitable<absl::Status> Next(std::vector<ChoiceEvent>* out);

  // No more of this choice is wanted: cancels its call unless it has ended.
  void Close(int64_t choice);

  // Makes Next return CANCELLED. May be called after this is gone, on any thread.
  std::function<void()> Abandoner() const;

  // Of the servers that answer; valid after Start.
  const v1::Identity& identity() const { return *identity_; }

 private:
  struct Choice {
    v1::GenerateRequest request;
    int attempt = 0;  // counts the calls made
    ServerId server{};
    std::shared_ptr<GenerateCall> call;
    std::unique_ptr<ServerPool::Lease> lease;  // while the call runs
    bool heard = false;                        // some event was delivered
    bool finished = false;                     // the server sent Finished
    bool closed = false;
  };

  absl::Status Call(int64_t index, std::optional<ServerId> instead_of);
  void OnLost(int64_t index);
  absl::Status OnEnd(int64_t index, const absl::Status& status);
  absl::Status Sort(std::vector<InboxItem> items, std::vector<ChoiceEvent>* out);

  ServerPool* const pool_;
  ProgressMonitor* const progress_;
  const absl::Time deadline_;
  const TracePtr trace_;
  const std::shared_ptr<EventInbox> inbox_;
  std::vector<Choice> choices_;
  std::optional<v1::Identity> identity_;
  absl::Status failure_;  // to be told after the events that came before it
};

}  // namespace lynx
