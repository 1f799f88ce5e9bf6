// Runs queued operations, on the thread that waits or asks for them.
#include "error.h"
#include "fake_fault.h"
#include "fake_world.h"

namespace simt {
namespace fake {
namespace {

thread_local World* running_in = nullptr;  // an operation of this world, on this thread

Step Execute(World& w, const Operation& operation, DeviceAccess& access) {
  if (operation.work == nullptr || HasError()) return Step::kDone;
  EnsureSignalStack();
  const std::lock_guard device(w.device);
  access.Ensure();
  running_in = &w;
  const Step step = operation.work();
  running_in = nullptr;
  return step;
}

enum class Progress {
  kMoved,
  kEmpty,
  kStuck,  // on what another thread or another process does
};

// One operation of s, or of the stream that s waits for.
Progress StepStream(World& w, Lock& lock, const std::shared_ptr<CUstream_st>& s,
                    DeviceAccess& access) {
  if (s->running) return Progress::kStuck;
  if (s->operations.empty()) return Progress::kEmpty;
  Operation& operation = s->operations.front();  // stays there while others are added
  if (operation.wait != nullptr && !operation.wait->done) {
    auto other = operation.wait->stream.lock();
    if (other != nullptr && StepStream(w, lock, other, access) == Progress::kMoved) {
      return Progress::kMoved;
    }
    return Progress::kStuck;
  }
  s->running = true;
  lock.unlock();
  const Step step = Execute(w, operation, access);
  lock.lock();
  s->running = false;
  if (step == Step::kAgain) return Progress::kStuck;
  if (operation.records != nullptr) {
    operation.records->done = true;
    operation.records->time = std::chrono::steady_clock::now();
  }
  s->operations.pop_front();
  w.changed.notify_all();
  return Progress::kMoved;
}

std::vector<std::shared_ptr<CUstream_st>> AllStreams(World& w) {
  std::vector<std::shared_ptr<CUstream_st>> all = {w.legacy};
  for (auto& [handle, stream] : w.streams) all.push_back(stream);
  all.insert(all.end(), w.retired.begin(), w.retired.end());
  return all;
}

void ForgetRetired(World& w) {
  std::erase_if(w.retired, [](const auto& s) { return s->operations.empty() && !s->running; });
}

// What a device would do while `s` waits for another process.
bool StepOthers(World& w, Lock& lock, DeviceAccess& access) {
  bool moved = false;
  for (const auto& s : AllStreams(w)) {
    moved |= StepStream(w, lock, s, access) == Progress::kMoved;
  }
  return moved;
}

std::shared_ptr<CUstream_st> Shared(World& w, CUstream_st& s) {
  if (&s == w.legacy.get()) return w.legacy;
  auto found = w.streams.find(&s);
  if (found != w.streams.end()) return found->second;
  for (const auto& retired : w.retired) {
    if (retired.get() == &s) return retired;
  }
  return nullptr;
}

}  // namespace

void RunUntil(World& w, Lock& lock, CUstream_st& s, const std::function<bool()>& done) {
  constexpr auto kRetry = std::chrono::microseconds(200);
  const auto stream = Shared(w, s);
  DeviceAccess access(w.memory);
  while (!done()) {
    if (StepStream(w, lock, stream, access) == Progress::kMoved) continue;
    if (!done() && !StepOthers(w, lock, access)) w.changed.wait_for(lock, kRetry);
  }
  ForgetRetired(w);
}

void Drain(World& w, Lock& lock, CUstream_st& s) {
  // What is queued while it drains is not waited for.
  if (s.operations.empty()) return;
  auto end = std::make_shared<Record>();
  s.operations.push_back({nullptr, nullptr, end});
  RunUntil(w, lock, s, [&] { return end->done; });
}

void DrainAll(World& w, Lock& lock) {
  for (const auto& s : AllStreams(w)) Drain(w, lock, *s);
}

uint64_t NextRandom(World& w) {
  w.random += 0x9e3779b97f4a7c15ull;
  uint64_t x = w.random;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

void Poll(World& w, Lock& lock) {
  DeviceAccess access(w.memory);
  for (const auto& s : AllStreams(w)) {
    if (NextRandom(w) % 2 == 0) StepStream(w, lock, s, access);
  }
  ForgetRetired(w);
}

void RunWhatCan(World& w, Lock& lock, CUstream_st& s) {
  const auto stream = Shared(w, s);
  DeviceAccess access(w.memory);
  while (StepStream(w, lock, stream, access) == Progress::kMoved) {
  }
}

}  // namespace fake

BlockingRegion::BlockingRegion() {
  if (fake::running_in != nullptr) fake::running_in->device.unlock();
}
BlockingRegion::~BlockingRegion() {
  if (fake::running_in != nullptr) fake::running_in->device.lock();
}

}  // namespace simt
