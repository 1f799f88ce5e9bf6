// Hands what other threads learn over to the one coroutine that answers a request.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "proto/lynx.pb.h"

namespace lynx {

// The call's server is found not to answer; the call goes on.
struct ServerLost {};

struct InboxItem {
  int64_t choice = 0;
  int attempt = 0;  // which of the choice's calls
  // A status is the call's end.
  std::variant<v1::GenerateEvent, absl::Status, ServerLost> what;
};

class EventInbox : public std::enable_shared_from_this<EventInbox> {
 public:
  // `executor` runs one handler at a time (a strand); Take is awaited on it. At most `capacity`
  // events are held; the ends of calls and lost servers are not counted, there is one for each
  // call.
  EventInbox(const boost::asio::any_io_executor& executor, size_t capacity);

  // Any thread. False: full, the event is lost and the request cannot go on.
  bool PushEvent(InboxItem item);
  void PushEnd(InboxItem item);  // of an end or a lost server
  // Any thread: the client is gone. Take then returns at once, from now on.
  void Abandon();

  // Everything that is there; waits while that is nothing. CANCELLED after Abandon,
  // RESOURCE_EXHAUSTED once an event was lost.
  boost::asio::awaitable<absl::Status> Take(std::vector<InboxItem>* out);

 private:
  void Wake(bool was_quiet);

  const boost::asio::any_io_executor executor_;
  const size_t capacity_;
  boost::asio::steady_timer bell_;  // only touched on executor_

  absl::Mutex mu_;
  std::vector<InboxItem> items_ ABSL_GUARDED_BY(mu_);
  bool rung_ ABSL_GUARDED_BY(mu_) = false;  // a wake-up is on its way
  bool overflowed_ ABSL_GUARDED_BY(mu_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace lynx
