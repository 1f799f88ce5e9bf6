// Page tables in device memory: where each sequence's pages lie, as attention reads them and RoPE
// writes them. A table is brought over when a pass first has its sequence; from then on only what
// has changed in it.
//
// A table's memory is free again when its sequence has ended and another one needs room. Memory is
// taken at the start, enough for all pages that KV memory can hold.
//
// Thread: the engine thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/kv_pages.h"
#include "model/cuda/arena.h"
#include "model/kv_sequence.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/status.h"

namespace lynx::cuda {

class PageTables {
 public:
  // A sequence's table, in device memory: valid for the work that is queued before the next
  // Update.
  struct Table {
    const PageRef* draft = nullptr;           // [layers, layer_stride], pages of KvView::kDraft
    const PageRef* target = nullptr;          // likewise, KvView::kTarget
    const std::byte* const* sinks = nullptr;  // [layers]
    int64_t layer_stride = 0;

    const PageRef* Of(KvView view) const { return view == KvView::kDraft ? draft : target; }
  };

  // For KV memory that holds `pages_max` pages, counted over layers and sequences.
  // RESOURCE_EXHAUSTED: no room for them.
  static absl::StatusOr<std::unique_ptr<PageTables>> Create(int64_t layers, int64_t pages_max);
  // Bytes of device memory that Create takes, and as many of pinned host memory.
  static size_t BytesNeeded(int64_t layers, int64_t pages_max);

  // Queues the copies that make the tables of these sequences what the sequences say now: none in
  // most steps. The copies of the last Update are done. Sequences of at most pages_max pages.
  void Update(std::span<const KvSequence* const> sequences, cudaStream_t stream);

  // Of a sequence of the last Update.
  Table Of(const KvSequence& sequence) const;

  // Tables that are held, those of ended sequences among them. For tests.
  size_t held() const { return tables_.size(); }

 private:
  using Life = std::weak_ptr<const void>;
  struct Entry {
    size_t offset = 0;  // in the arena and the mirror
    size_t bytes = 0;
    size_t changes = 0;                     // of the sequence's, that are in the mirror
    size_t dirty_begin = 0, dirty_end = 0;  // bytes of the table, not yet copied; empty if equal
  };

  explicit PageTables(int64_t layers) : layers_(layers) {}
  static size_t TableBytes(int64_t layers, int64_t pages);
  bool UpdateAll(std::span<const KvSequence* const> sequences);
  Entry* Add(const KvSequence& sequence);
  void FreeEnded();
  void FreeAll();
  void WriteAll(const KvSequence& sequence, Entry* entry);
  void WriteChanges(const KvSequence& sequence, Entry* entry);
  void WritePage(const KvSequence& sequence, int layer, int64_t page, Entry* entry);
  void CopyDirty(cudaStream_t stream);

  const int64_t layers_;
  std::unique_ptr<Arena> device_;
  PinnedBuffer<std::byte> mirror_;  // what the device's memory holds once the copies are done
  std::map<Life, Entry, std::owner_less<Life>> tables_;
  std::vector<std::pair<size_t, size_t>> ranges_;  // [begin, end) to be copied, scratch
};

}  // namespace lynx::cuda
