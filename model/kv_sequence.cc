#include "model/kv_sequence.h"

#include <algorithm>

#include "runtime/status.h"

namespace lynx {
namespace {

int64_t PagesFor(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

}  // namespace

size_t KvSequence::BytesNeeded(const KvGeometry& g, int64_t code_pages, int64_t total_tokens) {
  const int64_t pages = PagesFor(total_tokens);
  size_t code = 0;
  if (g.has_code()) code += KvPool::RoundUp(AnchorBlockBytes(g.shape, g.split));
  if (g.has_residual()) code += KvPool::RoundUp(ResidualBlockBytes(g.shape, g.split));
  const int64_t bf16_pages = g.has_bf16_pages() ? pages : pages - code_pages;
  size_t layer = code_pages * code + bf16_pages * KvPool::RoundUp(Bf16PageBytes(g.shape));
  if (code_pages > 0 && g.has_code()) {
    layer += KvPool::RoundUp(kSinkTokens * PackedTokenBytes(g.shape));
  }
  return layer * g.layers;
}

// Landings are for the prompt's pages, the partial one behind code_pages included.
size_t KvSequence::LandingBytesNeeded(const KvGeometry& g, int64_t code_pages,
                                      int64_t total_tokens) {
  return BytesNeeded(g, code_pages, std::min(total_tokens, (code_pages + 1) * kPageTokens));
}

std::unique_ptr<KvSequence> KvSequence::Create(const KvGeometry& geometry, int64_t code_pages,
                                               int64_t total_tokens, const KvPlaces& places) {
  LYNX_CHECK(code_pages >= 0 && total_tokens >= code_pages * kPageTokens && total_tokens > 0);
  const bool one_pool = places.sent == nullptr;
  if (one_pool && !places.pages->HasRoom(BytesNeeded(geometry, code_pages, total_tokens))) {
    return nullptr;
  }
  std::unique_ptr<KvSequence> sequence(new KvSequence(geometry, code_pages, total_tokens, places));
  // Without room in one of the pools, or if the system itself is out of memory.
  if (!sequence->AllocatePages() || !sequence->AllocateLandings()) return nullptr;
  return sequence;
}

KvSequence::KvSequence(const KvGeometry& geometry, int64_t code_pages, int64_t total_tokens,
                       const KvPlaces& places)
    : geometry_(geometry),
      code_pages_(code_pages),
      total_tokens_(total_tokens),
      pages_(PagesFor(total_tokens)),
      places_(places),
      draft_view_(geometry.layers * pages_),
      target_view_(geometry.layers * pages_) {
  auto resize = [&](Blocks* blocks) {
    for (auto* kind : {&blocks->anchor, &blocks->residual, &blocks->bf16}) {
      kind->resize(geometry.layers * pages_);
    }
    blocks->sinks.resize(geometry.layers);
  };
  resize(&blocks_);
  if (places.landing != nullptr) resize(&landings_);
}

KvSequence::~KvSequence() {
  FreeAll(&blocks_);
  FreeAll(&landings_);
}

void KvSequence::FreeAll(Blocks* blocks) {
  for (auto* kind : {&blocks->anchor, &blocks->residual, &blocks->bf16, &blocks->sinks}) {
    for (Block& block : *kind) Free(&block);
  }
}

void KvSequence::FreeLandings() { FreeAll(&landings_); }

void KvSequence::Free(Block* block) {
  if (block->data != nullptr) block->pool->Free(block->data, block->bytes);
  *block = {};
}

bool KvSequence::Allocate(size_t bytes, KvPool* pool, Block* block) {
  if (bytes == 0) return true;  // a width of 8 bits leaves no Residual
  *block = {pool->TryAllocate(bytes), bytes, pool};
  return block->data != nullptr;
}

bool KvSequence::AllocatePages() {
  const KvShape shape = geometry_.shape;
  const size_t anchor_bytes = AnchorBlockBytes(shape, geometry_.split);
  const size_t residual_bytes = ResidualBlockBytes(shape, geometry_.split);
  KvPool* const code_pool = places_.sent != nullptr ? places_.sent : places_.pages;
  for (int layer = 0; layer < geometry_.layers; ++layer) {
    if (code_pages_ > 0 && geometry_.has_code() &&
        !Allocate(kSinkTokens * PackedTokenBytes(shape), code_pool, &blocks_.sinks[layer])) {
      return false;
    }
    for (int64_t page = 0; page < pages_; ++page) {
      const size_t i = Index(layer, page);
      const bool code = page < code_pages_ && geometry_.has_code();
      if (code && !Allocate(anchor_bytes, code_pool, &blocks_.anchor[i])) return false;
      if (code && geometry_.has_residual() &&
          !Allocate(residual_bytes, code_pool, &blocks_.residual[i])) {
        return false;
      }
      if ((!code || geometry_.has_bf16_pages()) &&
          !Allocate(Bf16PageBytes(shape), places_.pages, &blocks_.bf16[i])) {
        return false;
      }
      draft_view_[i] = target_view_[i] = {KvPageKind::kBf16, blocks_.bf16[i].data, nullptr};
      if (!code) continue;
      draft_view_[i] = {KvPageKind::kAnchor, blocks_.anchor[i].data, nullptr};
      if (geometry_.target == KvTarget::kInt4Whole) {
        target_view_[i] = draft_view_[i];
      } else if (!geometry_.has_bf16_pages()) {
        target_view_[i] = {KvPageKind::kFull, blocks_.anchor[i].data, blocks_.residual[i].data};
      }
    }
  }
  return true;
}

// A landing for each block that can be received: those of the prompt's pages.
bool KvSequence::AllocateLandings() {
  KvPool* const pool = places_.landing;
  if (pool == nullptr) return true;
  auto mirror = [&](std::vector<Block> Blocks::*kind, size_t i) {
    const Block& block = (blocks_.*kind)[i];
    return block.data == nullptr || Allocate(block.bytes, pool, &(landings_.*kind)[i]);
  };
  for (int layer = 0; layer < geometry_.layers; ++layer) {
    if (!mirror(&Blocks::sinks, static_cast<size_t>(layer))) return false;
    for (int64_t page = 0; page < std::min(code_pages_ + 1, pages_); ++page) {
      const size_t i = Index(layer, page);
      if (!mirror(&Blocks::anchor, i) || !mirror(&Blocks::residual, i) ||
          !mirror(&Blocks::bf16, i)) {
        return false;
      }
    }
  }
  return true;
}

std::span<const KvPageRef> KvSequence::Pages(int layer, KvView view) const {
  const std::vector<KvPageRef>& refs = view == KvView::kDraft ? draft_view_ : target_view_;
  return {refs.data() + Index(layer, 0), static_cast<size_t>(pages_)};
}

const std::byte* KvSequence::Sinks(int layer) const { return blocks_.sinks[layer].data; }

std::byte* KvSequence::AnchorBlock(int layer, int64_t page) {
  return blocks_.anchor[Index(layer, page)].data;
}
std::byte* KvSequence::ResidualBlock(int layer, int64_t page) {
  return blocks_.residual[Index(layer, page)].data;
}
std::byte* KvSequence::Bf16Page(int layer, int64_t page) {
  return blocks_.bf16[Index(layer, page)].data;
}
std::byte* KvSequence::SinksBlock(int layer) { return blocks_.sinks[layer].data; }

std::byte* KvSequence::Landing(std::vector<Block> Blocks::*kind, size_t index) {
  const std::vector<Block>& landings = landings_.*kind;
  return landings.empty() ? (blocks_.*kind)[index].data : landings[index].data;
}
std::byte* KvSequence::AnchorLanding(int layer, int64_t page) {
  return Landing(&Blocks::anchor, Index(layer, page));
}
std::byte* KvSequence::ResidualLanding(int layer, int64_t page) {
  return Landing(&Blocks::residual, Index(layer, page));
}
std::byte* KvSequence::Bf16Landing(int layer, int64_t page) {
  return Landing(&Blocks::bf16, Index(layer, page));
}
std::byte* KvSequence::SinksLanding(int layer) {
  return Landing(&Blocks::sinks, static_cast<size_t>(layer));
}

bool KvSequence::HasRoomForRaw(int64_t pages) const {
  if (geometry_.has_bf16_pages()) return true;
  const size_t bytes = pages * KvPool::RoundUp(Bf16PageBytes(geometry_.shape));
  return places_.pages->HasRoom(bytes) &&
         (places_.landing == nullptr || places_.landing->HasRoom(bytes));
}

bool KvSequence::MakeRaw(int layer, int64_t page) {
  const size_t i = Index(layer, page);
  LYNX_CHECK(page < code_pages_);
  const size_t bytes = Bf16PageBytes(geometry_.shape);
  Block& block = blocks_.bf16[i];
  if (block.data == nullptr && !Allocate(bytes, places_.pages, &block)) return false;
  if (places_.landing != nullptr && landings_.bf16[i].data == nullptr &&
      !Allocate(bytes, places_.landing, &landings_.bf16[i])) {
    return false;
  }
  ReadAsBf16(layer, page);
  return true;
}

void KvSequence::ReadAsBf16(int layer, int64_t page) {
  const size_t i = Index(layer, page);
  const std::byte* data = blocks_.bf16[i].data;
  if (draft_view_[i].data == data && target_view_[i].data == data) return;
  draft_view_[i] = target_view_[i] = {KvPageKind::kBf16, data, nullptr};
  changes_.push_back({layer, static_cast<int32_t>(page)});
}

void KvSequence::MarkRestored(int layer, int64_t page) {
  const size_t i = Index(layer, page);
  LYNX_CHECK(geometry_.target == KvTarget::kBf16 && blocks_.bf16[i].data != nullptr);
  ReadAsBf16(layer, page);
  Free(&blocks_.anchor[i]);
  Free(&blocks_.residual[i]);
}

}  // namespace lynx
