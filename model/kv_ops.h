// What is done with a sequence's KV blocks besides attention: coding, packing, restoring, copying.
//
// Every function queues its work behind the passes and operations before it and may return before
// it is done. Passes that are started later see what was unpacked, restored and copied. Coding and
// packing may go on beside them: who has a pass read their output waits for it first, and who has
// one write to their pages (no full page of a prompt is written twice). Jobs, and host memory that
// they name, stay as they are until WaitFor(a later mark). Every block may lie where a backend
// computes or in its wire memory (KvPlaces).
//
// Thread: the engine thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kv_split.h"

namespace lynx {

// A full BF16 page is put into code.
struct CodeJob {
  const std::byte* page = nullptr;
  int first_token = 0;            // 0, or kSinkTokens for page 0
  std::byte* anchor = nullptr;    // AnchorBlockBytes; unspecified if the page is raw
  std::byte* residual = nullptr;  // ResidualBlockBytes; null: it is not wanted
  std::byte* tail = nullptr;      // room for Bf16PageBytes; null: it is not wanted. All of a
                                  // batch want one, or none
  uint32_t tail_bytes = 0;        // the Tail's length, unless the page is raw
  SplitResult result = SplitResult::kCode;
};

// Tokens [begin, end) of a BF16 page, one after another (PackTokens).
struct PackJob {
  const std::byte* page = nullptr;
  int begin = 0, end = 0;
  std::byte* packed = nullptr;  // another block
};

struct UnpackJob {
  const std::byte* packed = nullptr;  // may be where `page` is
  int begin = 0, end = 0;
  std::byte* page = nullptr;
};

// A page of the bf16 target becomes BF16 again.
struct RestoreJob {
  int first_token = 0;
  const std::byte* anchor = nullptr;
  const std::byte* residual = nullptr;
  std::span<const std::byte> tail;   // from a peer; may be where `page` is
  const std::byte* sinks = nullptr;  // packed tokens before first_token; null if there are none
  std::byte* page = nullptr;
  bool fits = false;  // false: the Tail does not belong to the code, and `page` holds anything
};

class KvOps {
 public:
  enum class Mark : uint64_t {};
  virtual ~KvOps() = default;

  virtual void Code(KvShape shape, KvSplit split, std::span<CodeJob> jobs) = 0;
  virtual void Pack(KvShape shape, std::span<const PackJob> jobs) = 0;
  virtual void Unpack(KvShape shape, std::span<const UnpackJob> jobs) = 0;
  virtual void Restore(KvShape shape, KvSplit split, std::span<RestoreJob> jobs) = 0;
  // Between any two blocks that do not overlap.
  virtual void Copy(std::byte* to, const std::byte* from, size_t bytes) = 0;

  // Stands for everything queued so far, here and by passes: behind it, pages that passes have
  // written may be read by others, and memory that passes have read may be given away.
  virtual Mark Now() = 0;
  // Returns when all that `mark` stands for is done: results are in the jobs, and their memory is
  // free.
  virtual void WaitFor(Mark mark) = 0;
};

}  // namespace lynx
