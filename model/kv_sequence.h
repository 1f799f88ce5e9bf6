// The KV cache of one sequence: which blocks hold which page of which layer, and how attention
// reads them.
//
// Positions [0, code_pages * 64) are the prompt's full pages, held as target code (Anchor and
// Residual blocks; with the bf16 target also as BF16 pages, restored by the Tail, which alone
// stay). Everything behind them (the prompt's partial last page, generated tokens) is BF16. A
// sequence with code_pages == 0 is all BF16: a prefill, or the code-free reference.
//
// Thread: the engine thread, but for the bytes of granted blocks, which the data plane writes until
// they are taken over. Memory comes from the pools all at once or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/attention.h"
#include "model/kv_pool.h"

namespace lynx {

// How the prompt's full pages are held and read.
enum class KvTarget {
  kInt8,       // Anchor, then Residual; read as full code
  kBf16,       // Anchor, Residual, Tail; read as BF16 pages
  kInt8Whole,  // baseline: the 8-bit code in one piece
  kInt4Whole,  // baseline: the 4-bit code in one piece, never completed
  kBf16Whole,  // baseline: BF16 pages in one piece
};

// Which view of the code pages a pass reads.
enum class KvView {
  kDraft,   // Anchor only
  kTarget,  // what the target says
};

struct KvGeometry {
  int layers = 0;
  KvShape shape;
  KvSplit split;  // of code pages; {8, 8} for kInt8Whole, {4, 4} for kInt4Whole
  KvTarget target = KvTarget::kInt8;

  bool has_code() const { return target != KvTarget::kBf16Whole; }
  bool has_residual() const { return target == KvTarget::kInt8 || target == KvTarget::kBf16; }
  // True if prompt pages end as BF16 pages: by the Tail, or sent as such.
  bool has_bf16_pages() const {
    return target == KvTarget::kBf16 || target == KvTarget::kBf16Whole;
  }
};

// Where a sequence's blocks lie. One pool for all where the host computes; where a device does, its
// memory is nothing that a socket can read or write.
struct KvPlaces {
  KvPool* pages = nullptr;  // what attention reads
  // Of a prefill, whose code is made to be sent: where code and packed tokens are put instead.
  // Null: `pages`.
  KvPool* sent = nullptr;
  // Of a decode: where blocks land before they are copied to their pages. Null: they land there.
  KvPool* landing = nullptr;
};

class KvSequence {
 public:
  // Bytes that Create takes, of all pools together.
  static size_t BytesNeeded(const KvGeometry& geometry, int64_t code_pages, int64_t total_tokens);

  // Bytes of places.landing that Create takes, if there is such a pool.
  static size_t LandingBytesNeeded(const KvGeometry& geometry, int64_t code_pages,
                                   int64_t total_tokens);

  // Room for `total_tokens` positions, the first code_pages * 64 of them as code (total_tokens at
  // least that many). Null if a pool has no room. The pools outlive the sequence.
  static std::unique_ptr<KvSequence> Create(const KvGeometry& geometry, int64_t code_pages,
                                            int64_t total_tokens, const KvPlaces& places);
  ~KvSequence();
  KvSequence(const KvSequence&) = delete;
  KvSequence& operator=(const KvSequence&) = delete;

  const KvGeometry& geometry() const { return geometry_; }
  int64_t code_pages() const { return code_pages_; }
  int64_t total_tokens() const { return total_tokens_; }
  int64_t pages() const { return pages_; }

  // Pages of one layer, [pages()].
  std::span<const KvPageRef> Pages(int layer, KvView view) const;
  // For copies of the views that are kept elsewhere: the places whose entries are no longer as
  // Create made them, in the order of the changes, and what tells this sequence from all others for
  // as long as the pointer is held: it expires with the sequence.
  struct PagePlace {
    int32_t layer = 0;
    int32_t page = 0;
  };
  std::span<const PagePlace> changes() const { return changes_; }
  std::weak_ptr<const void> life() const { return life_; }
  // Packed tokens 0..3 of the layer; null without code pages.
  const std::byte* Sinks(int layer) const;

  // Blocks to be written. Page indices count from position 0.
  std::byte* AnchorBlock(int layer, int64_t page);    // page < code_pages, has_code, not restored
  std::byte* ResidualBlock(int layer, int64_t page);  // page < code_pages, has_residual, likewise
  std::byte* Bf16Page(int layer, int64_t page);  // page >= code_pages, or has_bf16_pages, or raw
  std::byte* SinksBlock(int layer);

  // Where what a data plane receives is put: the blocks themselves, or blocks of their own that
  // have to be copied (packed tokens and Tails: unpacked) from there. The Bf16 landing takes the
  // packed tokens of a partial page, a Tail, or a whole page.
  std::byte* AnchorLanding(int layer, int64_t page);
  std::byte* ResidualLanding(int layer, int64_t page);
  std::byte* Bf16Landing(int layer, int64_t page);  // as Bf16Page; of page <= prompt tokens / 64
  std::byte* SinksLanding(int layer);
  // Everything has landed and was copied: gives the landing blocks back. Nothing may write or read
  // them any more.
  void FreeLandings();

  // First token of a code page's groups: kSinkTokens on page 0.
  static int FirstToken(int64_t page) { return page == 0 ? kSinkTokens : 0; }

  // Whether MakeRaw can be had for so many pages.
  bool HasRoomForRaw(int64_t pages) const;
  // Gives a page that could not be coded a BF16 page of its own; false if the pool has no room.
  // Both views read it from now on.
  bool MakeRaw(int layer, int64_t page);

  // With the bf16 target: the page's BF16 form is complete. Both views read it from now on, and the
  // page's Anchor and Residual go back to the pool: nothing may read or write them any more. (The
  // views of the other targets never change.)
  void MarkRestored(int layer, int64_t page);

 private:
  struct Block {
    std::byte* data = nullptr;
    size_t bytes = 0;
    KvPool* pool = nullptr;
  };
  // The blocks of one kind of place, [layers, pages].
  struct Blocks {
    std::vector<Block> anchor, residual, bf16;
    std::vector<Block> sinks;  // [layers]
  };
  KvSequence(const KvGeometry& geometry, int64_t code_pages, int64_t total_tokens,
             const KvPlaces& places);
  bool AllocatePages();
  bool AllocateLandings();
  static bool Allocate(size_t bytes, KvPool* pool, Block* block);
  static void Free(Block* block);
  static void FreeAll(Blocks* blocks);
  std::byte* Landing(std::vector<Block> Blocks::*kind, size_t index);
  size_t Index(int layer, int64_t page) const { return static_cast<size_t>(layer * pages_ + page); }
  // Both views read the page as BF16 from now on.
  void ReadAsBf16(int layer, int64_t page);

  const KvGeometry geometry_;
  const int64_t code_pages_;
  const int64_t total_tokens_;
  const int64_t pages_;
  const KvPlaces places_;
  Blocks blocks_;
  Blocks landings_;                     // empty without a landing pool
  std::vector<KvPageRef> draft_view_;   // [layers, pages]
  std::vector<KvPageRef> target_view_;  // [layers, pages]
  std::vector<PagePlace> changes_;      // at most two a page: MakeRaw and MarkRestored
  const std::shared_ptr<const void> life_ = std::make_shared<char>();
};

}  // namespace lynx
