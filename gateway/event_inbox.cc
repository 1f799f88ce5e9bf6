#include "gateway/event_inbox.h"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lynx {

namespace asio = boost::asio;

EventInbox::EventInbox(const asio::any_io_executor& executor, size_t capacity)
    : executor_(executor), capacity_(capacity), bell_(executor) {}

bool EventInbox::PushEvent(InboxItem item) {
  bool quiet;
  bool taken;
  {
    absl::MutexLock lock(&mu_);
    if (abandoned_) return false;
    taken = items_.size() < capacity_;
    overflowed_ |= !taken;
    if (taken) items_.push_back(std::move(item));
    quiet = !std::exchange(rung_, true);
  }
  Wake(quiet);
  return taken;
}

void EventInbox::PushEnd(InboxItem item) {
  bool quiet;
  {
    absl::MutexLock lock(&mu_);
    if (abandoned_) return;
    items_.push_back(std::move(item));
    quiet = !std::exchange(rung_, true);
  }
  Wake(quiet);
}

void EventInbox::Abandon() {
  bool quiet;
  {
    absl::MutexLock lock(&mu_);
    abandoned_ = true;
    quiet = !std::exchange(rung_, true);
  }
  Wake(quiet);
}

void EventInbox::Wake(bool was_quiet) {
  if (!was_quiet) return;
  asio::post(executor_, [self = shared_from_this()] { self->bell_.cancel(); });
}

asio::awaitable<absl::Status> EventInbox::Take(std::vector<InboxItem>* out) {
  out->clear();
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      rung_ = false;
      if (abandoned_) co_return absl::CancelledError("The client is gone.");
      if (overflowed_) co_return absl::ResourceExhaustedError("The client reads too slowly.");
      if (!items_.empty()) {
        out->swap(items_);
        co_return absl::OkStatus();
      }
    }
    // Nothing runs on the executor between the look above and this wait, so no bell is missed.
    bell_.expires_at(asio::steady_timer::time_point::max());
    boost::system::error_code ignored;
    co_await bell_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

}  // namespace lynx
