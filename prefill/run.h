// One prompt at the prefill server: its request, its KV while it is computed, and the blocks that
// are sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "model/kv_ops.h"
#include "model/kv_sequence.h"
#include "model/sampling.h"
#include "proto/lynx.pb.h"
#include "runtime/clock.h"
#include "runtime/request_trace.h"
#include "runtime/status.h"
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
  Nanos submitted{0};
  Nanos granted_at{0};
  Nanos first_token_at{0};
  TracePtr trace;  // null: not traced
  Phase phase = Phase::kQueued;
  Nanos not_before{0};  // kQueued: when to ask (again)
  Nanos asked{0};       // kAsked: since when

  KvGeometry geometry;  // of the format on the wire
  std::unique_ptr<KvSequence>
      kv;                // BF16 pages of the whole prompt, and the code blocks of its full pages
  int64_t position = 0;  // prompt tokens computed
  bool transfer_begun = false;
  absl::Status failure;  // of its blocks, in the current pass

  // A page's Tail. Its length is known once it is coded, so its block has room for the longest.
  struct Tail {
    std::byte* data = nullptr;
    uint32_t bytes = 0;
  };
  std::vector<Tail> tails;       // [layers * full pages]; empty if there is no Tail
  std::byte* partial = nullptr;  // [layers, prompt_tokens % 64 packed tokens]
  // Copies of BF16 pages where a data plane can read them, by (layer, page), if it cannot where
  // they are.
  std::map<std::pair<int, int64_t>, std::byte*> raw_copies;
  std::vector<BlockId> raw_pages;             // kRawPage blocks that wait for their grant
  std::deque<std::vector<BlockId>> raw_told;  // lists that were asked for, and not granted yet

  int64_t prompt_tokens() const { return request.prompt_size(); }
  int64_t full_pages() const { return prompt_tokens() / kPageTokens; }
  int64_t partial_tokens() const { return prompt_tokens() % kPageTokens; }
  size_t partial_bytes() const {
    return geometry.layers * partial_tokens() * PackedTokenBytes(geometry.shape);
  }
  Tail& tail(int layer, int64_t page) { return tails[layer * full_pages() + page]; }
  const Tail& tail(int layer, int64_t page) const { return tails[layer * full_pages() + page]; }
};

// What `run` takes of its pools: KvSequence plus room for the longest Tails and the partial page.
// (Where a data plane cannot read pages, those that are sent are copied first, which is beside
// this.)
size_t RunBytes(const Run& run);
// What it takes of a pool of its own for what is sent (places.sent).
size_t SentBytes(const Run& run);
// Takes the memory; false (and nothing taken) if there is no room. `places` has pages, and sent if
// the data plane cannot read pages.
bool ReserveRun(Run& run, const KvPlaces& places);
// Nothing that was queued for the run may be going on.
void ReleaseRun(Run& run, const KvPlaces& places);

// A layer's new blocks while they are made.
struct LayerBlocks {
  int64_t first_page = 0, end_page = 0;  // that became full
  std::vector<CodeJob> code{};           // of those pages; empty if the format has no code
  bool sinks = false, partial = false;
  KvOps::Mark queued{};
};

// The pages of `layer` that become full when the prompt's computed part grows from run.position by
// `count` tokens are put into code, the sinks with page 0 and the partial page with the prompt's
// last token are packed: all of it is queued.
LayerBlocks QueueBlocks(Run& run, int layer, int64_t count, KvOps& ops);

// Lists the blocks, once what QueueBlocks queued is done. Pages that cannot be coded go to
// run.raw_pages instead; their copies, if they need any, are queued. RESOURCE_EXHAUSTED: no room
// for such a copy.
absl::StatusOr<std::vector<BlockData>> ListBlocks(Run& run, int layer, const LayerBlocks& made,
                                                  const KvPlaces& places, KvOps& ops);

// The block's bytes, if it was made. For blocks that are asked for again.
absl::StatusOr<BlockData> FindBlock(const Run& run, const BlockId& id);

}  // namespace lynx::prefill
