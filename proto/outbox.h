// Outgoing messages of one call: a bounded queue between the thread that makes them (the engine's)
// and a stream that takes one write at a time. Knows nothing of gRPC.
//
// Threads: any; Push and Close by one thread at a time, unless the writer outlives both. The writer
// is called with no lock held; WriteMessage and EndStream by one thread at a time.
#pragma once

#include <cstddef>
#include <deque>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "runtime/status.h"

namespace lynx {

// The stream. It stays alive until EndStream was called and the last write was reported.
template <typename Message>
class OutboxWriter {
 public:
  virtual ~OutboxWriter() = default;
  // `message` stays as it is until Written is called.
  virtual void WriteMessage(const Message& message) = 0;
  // The last call: everything was written, or cannot be any more.
  virtual void EndStream(const absl::Status& status) = 0;
  // The peer does not read: fail the write that hangs, and cancel the call.
  virtual void AbortCall() = 0;
};

template <typename Message>
class Outbox {
 public:
  using Writer = OutboxWriter<Message>;

  // At least one message fits, whatever its size.
  explicit Outbox(size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // False: the peer does not keep up or is gone; nothing more will be sent, and the writer was
  // told.
  bool Push(Message message) {
    const size_t bytes = message.ByteSizeLong() + sizeof(Message);
    bool fits = true;
    Writer* writer = nullptr;
    {
      absl::MutexLock lock(&mu_);
      if (closed_ || broken_) return false;
      fits = queued_bytes_ == 0 || queued_bytes_ + bytes <= limit_bytes_;
      if (fits) {
        queue_.push_back(std::move(message));
        queued_bytes_ += bytes;
      } else {
        BreakLocked();
        writer = writer_;
      }
    }
    if (fits) {
      Advance();
    } else if (writer != nullptr) {
      writer->AbortCall();
    }
    return fits;
  }

  // The stream ends with `status` once what is queued is written. The first call counts.
  void Close(absl::Status status) {
    {
      absl::MutexLock lock(&mu_);
      if (closed_) return;
      closed_ = true;
      status_ = std::move(status);
    }
    Advance();
  }

  // From now on `writer` writes.
  void Attach(Writer* writer) {
    {
      absl::MutexLock lock(&mu_);
      writer_ = writer;
      if (!broken_ || closed_) writer = nullptr;
    }
    if (writer != nullptr) writer->AbortCall();
    Advance();
  }

  // The write that was begun has ended; false: the stream is broken.
  void Written(bool ok) {
    {
      absl::MutexLock lock(&mu_);
      writing_ = false;
      queued_bytes_ -= current_.ByteSizeLong() + sizeof(Message);
      if (!ok) BreakLocked();
    }
    Advance();
  }

 private:
  void BreakLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    broken_ = true;
    for (const Message& message : queue_) queued_bytes_ -= message.ByteSizeLong() + sizeof(Message);
    queue_.clear();
  }

  // Begins the next write, or finishes. Whoever sets writing_ or takes the writer is the only one
  // that may call it then, so no lock is needed while it is called.
  void Advance() {
    Writer* writer = nullptr;
    bool write = false;
    {
      absl::MutexLock lock(&mu_);
      if (writer_ == nullptr || writing_) return;
      if (!queue_.empty()) {
        current_ = std::move(queue_.front());
        queue_.pop_front();
        writer = writer_;
        write = writing_ = true;
      } else if (closed_) {
        writer = std::exchange(writer_, nullptr);
      } else {
        return;
      }
    }
    if (write) {
      writer->WriteMessage(current_);
    } else {
      writer->EndStream(status_);
    }
  }

  const size_t limit_bytes_;
  absl::Mutex mu_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mu_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // with the message that is being written
  Writer* writer_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  Message current_;      // the writer's while writing_
  absl::Status status_;  // not changed once closed_
};

}  // namespace lynx
