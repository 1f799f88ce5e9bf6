// One prompt at the prefill server: its request, its KV while it is computed, and the blocks that
// are sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "kernels/ops.h"
#include "model/kv_sequence.h"
#include "model/sampling.h"
#include "proto/lynx.pb.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "runtime/thread_pool.h"
#include "transfer/block.h"

namespace lynx::prefill {

enum class RunId : uint64_t {};

enum class Phase {
  kQueued,     // holds no memory
  kAsked,      // memory reserved, `ready` sent
  kComputing,  // granted
  kSent,       // first token sent; blocks are kept until done
};

struct Run {
  RunId id{};
  v1::RunRequest request;
  SamplingParams sampling;  // request.sampling, validated
  TransferKey key;
  SessionId session{};
  Nanos deadline{0};
  Phase phase = Phase::kQueued;
  Nanos not_before{0};  // kQueued: when to ask (again)

  KvGeometry geometry;  // of the format on the wire
  std::unique_ptr<KvSequence>
      kv;  // BF16 pages of the whole prompt, and the code blocks of its full pages
  size_t reserved_bytes = 0;  // of the pool, for Tails and partial pages
  int64_t position = 0;       // prompt tokens computed
  bool transfer_begun = false;

  std::vector<std::vector<std::byte>> tails;  // [layers * full pages]; empty if there is no Tail
  std::vector<std::byte> partial;             // [layers, prompt_tokens % 64 packed tokens]
  std::vector<BlockId> raw_pages;             // kRawPage blocks that wait for their grant
  std::deque<std::vector<BlockId>> raw_told;  // lists that were asked for, and not granted yet

  int64_t prompt_tokens() const { return request.prompt_size(); }
  int64_t full_pages() const { return prompt_tokens() / kPageTokens; }
  int64_t partial_tokens() const { return prompt_tokens() % kPageTokens; }
};

// What `run` takes of the pool: KvSequence plus room for the largest Tails and the partial page.
size_t RunBytes(const Run& run);
// Takes the memory; false (and nothing taken) if there is no room.
bool ReserveRun(Run& run, KvPool* pool);
void ReleaseRun(Run& run, KvPool* pool);

// The pages of `layer` that become full when the prompt's computed part grows from run.position by
// `count` tokens are put into code, and all of the layer's new blocks are listed: pages, sinks with
// page 0, the partial page with the prompt's last token. Pages that cannot be coded go to
// run.raw_pages instead.
std::vector<BlockData> MakeBlocks(Run& run, int layer, int64_t count, const Kernels& kernels,
                                  ThreadPool& pool);

// The block's bytes, if it was made. For blocks that are asked for again.
absl::StatusOr<BlockData> FindBlock(const Run& run, const BlockId& id);

}  // namespace lynx::prefill
