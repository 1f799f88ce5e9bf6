// The outboxes of an engine's requests by id. The engine may have something to say of a request
// before the call that submitted it has learned its id, so whoever comes first makes the outbox.
#pragma once

#include <map>
#include <memory>

#include "absl/synchronization/mutex.h"
#include "proto/outbox.h"

namespace lynx {

// Threads: any. An id is used once: by one Take and one Close.
template <typename Id, typename Message>
class OutboxTable {
 public:
  using Box = Outbox<Message>;

  explicit OutboxTable(size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // The engine's: a message for this request. False as Outbox::Push.
  bool Push(Id id, Message message) { return Find(id)->Push(std::move(message)); }

  // The engine's last word on this request.
  void Close(Id id, const absl::Status& status) { Settle(id, &Entry::closed)->Close(status); }

  // For the call: to be attached to its stream and kept until the stream's end.
  std::shared_ptr<Box> Take(Id id) { return Settle(id, &Entry::taken); }

  // The engine has stopped: ends every call that it will not end itself, later ones too.
  void CloseAll(const absl::Status& why) {
    std::map<Id, Entry> entries;
    {
      absl::MutexLock lock(&mu_);
      stopped_ = why;
      entries = entries_;
    }
    for (auto& [id, entry] : entries) entry.box->Close(why);
  }

 private:
  struct Entry {
    std::shared_ptr<Box> box;
    bool taken = false;
    bool closed = false;
  };

  std::shared_ptr<Box> Find(Id id) {
    absl::MutexLock lock(&mu_);
    return FindLocked(id).box;
  }

  std::shared_ptr<Box> Settle(Id id, bool Entry::*what) {
    absl::MutexLock lock(&mu_);
    Entry& entry = FindLocked(id);
    entry.*what = true;
    std::shared_ptr<Box> box = entry.box;
    if (entry.taken && entry.closed) entries_.erase(id);
    return box;
  }

  Entry& FindLocked(Id id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    Entry& entry = entries_[id];
    if (entry.box == nullptr) {
      entry.box = std::make_shared<Box>(limit_bytes_);
      if (!stopped_.ok()) entry.box->Close(stopped_);
    }
    return entry;
  }

  const size_t limit_bytes_;
  absl::Mutex mu_;
  std::map<Id, Entry> entries_ ABSL_GUARDED_BY(mu_);
  absl::Status stopped_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
