// ThreadSanitizer does not see Debian's Abseil, which is built without it: absl::Mutex would order
// nothing, and all that it guards would look like races. This library stands before Abseil in the
// dynamic linker's search, so that our calls, gRPC's and Abseil's own go through here, are told to
// the sanitizer and then passed on. It has what Lynx and gRPC call, no more.
#include <dlfcn.h>

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

template <typename Function>
Function* Real(const char* mangled) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, mangled));
}

// Abseil evaluates conditions on whichever thread holds the mutex, perhaps between our two marks:
// reads of guarded data that the sanitizer could not place.
class ConditionsRun {
 public:
  ConditionsRun() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~ConditionsRun() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

// A call that gives the mutex up while it waits and holds it again when it returns.
template <typename Result, typename... Args>
Result Waiting(void* mutex, Result (*real)(Args...), Args... args) {
  struct Held {
    void* mutex;
    ~Held() { __tsan_acquire(mutex); }
  } held{mutex};
  __tsan_release(mutex);
  ConditionsRun conditions;
  return real(args...);
}

}  // namespace

#define LYNX_MUTEX(name) "_ZN4absl7debian35Mutex" name
#define LYNX_CONDVAR(name) "_ZN4absl7debian37CondVar" name

namespace absl {

void Mutex::Lock() {
  static auto* const real = Real<void(Mutex*)>(LYNX_MUTEX("4LockEv"));
  real(this);
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static auto* const real = Real<void(Mutex*)>(LYNX_MUTEX("6UnlockEv"));
  __tsan_release(this);
  ConditionsRun conditions;
  real(this);
}

bool Mutex::TryLock() {
  static auto* const real = Real<bool(Mutex*)>(LYNX_MUTEX("7TryLockEv"));
  const bool locked = real(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::LockWhen(const Condition& condition) {
  static auto* const real =
      Real<void(Mutex*, const Condition*)>(LYNX_MUTEX("8LockWhenERKNS0_9ConditionE"));
  {
    ConditionsRun conditions;
    real(this, &condition);
  }
  __tsan_acquire(this);
}

void Mutex::Await(const Condition& condition) {
  static auto* const real =
      Real<void(Mutex*, const Condition*)>(LYNX_MUTEX("5AwaitERKNS0_9ConditionE"));
  Waiting<void, Mutex*, const Condition*>(this, real, this, &condition);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static auto* const real = Real<bool(Mutex*, const Condition*, Duration)>(
      LYNX_MUTEX("16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE"));
  return Waiting<bool, Mutex*, const Condition*, Duration>(this, real, this, &condition, timeout);
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  static auto* const real = Real<bool(Mutex*, const Condition*, Time)>(
      LYNX_MUTEX("17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE"));
  return Waiting<bool, Mutex*, const Condition*, Time>(this, real, this, &condition, deadline);
}

void CondVar::Wait(Mutex* mutex) {
  static auto* const real = Real<void(CondVar*, Mutex*)>(LYNX_CONDVAR("4WaitEPNS0_5MutexE"));
  Waiting<void, CondVar*, Mutex*>(mutex, real, this, mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static auto* const real = Real<bool(CondVar*, Mutex*, Duration)>(
      LYNX_CONDVAR("15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE"));
  return Waiting<bool, CondVar*, Mutex*, Duration>(mutex, real, this, mutex, timeout);
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static auto* const real =
      Real<bool(CondVar*, Mutex*, Time)>(LYNX_CONDVAR("16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE"));
  return Waiting<bool, CondVar*, Mutex*, Time>(mutex, real, this, mutex, deadline);
}

// Whoever finds a notification notified comes after Notify: by HasBeenNotified, an atomic read in a
// header of ours, as by a wait that found no need to lock.
void Notification::Notify() {
  static auto* const real = Real<void(Notification*)>("_ZN4absl7debian312Notification6NotifyEv");
  __tsan_release(&notified_yet_);
  real(this);
}

void Notification::WaitForNotification() const {
  static auto* const real =
      Real<void(const Notification*)>("_ZNK4absl7debian312Notification19WaitForNotificationEv");
  real(this);
  __tsan_acquire(const_cast<std::atomic<bool>*>(&notified_yet_));
}

// The count of a Status's holders is raised in a header and lowered here: the last one frees what
// the others have written.
void Status::UnrefNonInlined(uintptr_t rep) {
  static auto* const real = Real<void(uintptr_t)>("_ZN4absl7debian36Status15UnrefNonInlinedEm");
  void* const holders = RepToPointer(rep);
  __tsan_release(holders);
  __tsan_acquire(holders);
  real(rep);
}

}  // namespace absl
