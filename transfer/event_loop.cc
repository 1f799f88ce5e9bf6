#include "transfer/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace lynx {
namespace {

constexpr int kMaxEvents = 64;

uint64_t TagOf(int fd, uint64_t generation) { return generation << 32 | static_cast<uint32_t>(fd); }

void Drain(int fd) {
  uint64_t count = 0;
  [[maybe_unused]] ssize_t n = ::read(fd, &count, sizeof(count));  // EAGAIN: nothing to drain
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  std::unique_ptr<EventLoop> loop(new EventLoop);
  loop->epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  loop->wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  loop->timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!loop->epoll_.valid() || !loop->wake_.valid() || !loop->timer_.valid()) {
    return absl::ErrnoToStatus(errno, "event loop");
  }
  int wake = loop->wake_.get();
  RETURN_IF_ERROR(loop->Add(wake, EPOLLIN, [wake](uint32_t) { Drain(wake); }));
  int timer = loop->timer_.get();
  RETURN_IF_ERROR(loop->Add(timer, EPOLLIN, [timer](uint32_t) { Drain(timer); }));
  return loop;
}

void EventLoop::Control(int op, int fd, const Watched& watched) {
  epoll_event event{.events = watched.events, .data = {.u64 = TagOf(fd, watched.generation)}};
  LYNX_CHECK(::epoll_ctl(epoll_.get(), op, fd, &event) == 0);
}

absl::Status EventLoop::Add(int fd, uint32_t epoll_events, Handler handler) {
  Watched watched{.generation = next_generation_++,
                  .events = epoll_events,
                  .handler = std::make_shared<Handler>(std::move(handler))};
  epoll_event event{.events = epoll_events, .data = {.u64 = TagOf(fd, watched.generation)}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return absl::ErrnoToStatus(errno, "epoll_ctl");  // out of watches or memory
  }
  LYNX_CHECK(watched_.emplace(fd, std::move(watched)).second);
  return absl::OkStatus();
}

void EventLoop::SetEvents(int fd, uint32_t epoll_events) {
  Watched& watched = watched_.at(fd);
  if (watched.events == epoll_events) return;
  watched.events = epoll_events;
  Control(EPOLL_CTL_MOD, fd, watched);
}

void EventLoop::Remove(int fd) {
  auto it = watched_.find(fd);
  LYNX_CHECK(it != watched_.end());
  Control(EPOLL_CTL_DEL, fd, it->second);
  watched_.erase(it);
}

void EventLoop::Wake() {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_.get(), &one, sizeof(one));  // full: already woken
}

void EventLoop::ArmTimer(std::optional<Nanos> deadline) {
  if (deadline == armed_) return;
  armed_ = deadline;
  itimerspec spec{};  // all zero: disarmed
  if (deadline) {
    int64_t ns = std::max<int64_t>(1, deadline->count());
    spec.it_value = {.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  }
  LYNX_CHECK(::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0);
}

void EventLoop::Dispatch(uint64_t tag, uint32_t epoll_events) {
  int fd = static_cast<int>(tag & 0xffffffffu);
  auto it = watched_.find(fd);
  if (it == watched_.end() || it->second.generation != tag >> 32) return;
  std::shared_ptr<Handler> handler = it->second.handler;  // outlives its own removal
  (*handler)(epoll_events);
}

void EventLoop::RunOnce(std::optional<Nanos> deadline) {
  ArmTimer(deadline);
  epoll_event events[kMaxEvents];
  int n = ::epoll_wait(epoll_.get(), events, kMaxEvents, -1);
  LYNX_CHECK(n >= 0 || errno == EINTR);
  // A fired timer stays silent until it is armed again.
  if (armed_ && Now() >= *armed_) armed_.reset();
  for (int i = 0; i < n; ++i) Dispatch(events[i].data.u64, events[i].events);
}

}  // namespace lynx
