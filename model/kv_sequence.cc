#include "model/kv_sequence.h"

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

std::unique_ptr<KvSequence> KvSequence::Create(const KvGeometry& geometry, int64_t code_pages,
                                               int64_t total_tokens, KvPool* pool) {
  LYNX_CHECK(code_pages >= 0 && total_tokens >= code_pages * kPageTokens && total_tokens > 0);
  if (!pool->HasRoom(BytesNeeded(geometry, code_pages, total_tokens))) return nullptr;
  std::unique_ptr<KvSequence> sequence(new KvSequence(geometry, code_pages, total_tokens, pool));
  if (!sequence->AllocateAll()) return nullptr;  // the system itself is out of memory
  return sequence;
}

KvSequence::KvSequence(const KvGeometry& geometry, int64_t code_pages, int64_t total_tokens,
                       KvPool* pool)
    : geometry_(geometry),
      code_pages_(code_pages),
      total_tokens_(total_tokens),
      pages_(PagesFor(total_tokens)),
      pool_(pool),
      anchor_(geometry.layers * pages_),
      residual_(geometry.layers * pages_),
      bf16_(geometry.layers * pages_),
      sinks_(geometry.layers),
      draft_view_(geometry.layers * pages_),
      target_view_(geometry.layers * pages_) {}

KvSequence::~KvSequence() {
  for (std::vector<Block>* blocks : {&anchor_, &residual_, &bf16_, &sinks_}) {
    for (Block& b : *blocks) Free(&b);
  }
}

void KvSequence::Free(Block* block) {
  if (block->data != nullptr) pool_->Free(block->data, block->bytes);
  *block = {};
}

bool KvSequence::Allocate(size_t bytes, Block* block) {
  if (bytes == 0) return true;  // a width of 8 bits leaves no Residual
  block->data = pool_->TryAllocate(bytes);
  block->bytes = bytes;
  return block->data != nullptr;
}

bool KvSequence::AllocateAll() {
  const KvShape shape = geometry_.shape;
  const size_t anchor_bytes = AnchorBlockBytes(shape, geometry_.split);
  const size_t residual_bytes = ResidualBlockBytes(shape, geometry_.split);
  for (int layer = 0; layer < geometry_.layers; ++layer) {
    if (code_pages_ > 0 && geometry_.has_code() &&
        !Allocate(kSinkTokens * PackedTokenBytes(shape), &sinks_[layer])) {
      return false;
    }
    for (int64_t page = 0; page < pages_; ++page) {
      const size_t i = Index(layer, page);
      const bool code = page < code_pages_ && geometry_.has_code();
      if (code && !Allocate(anchor_bytes, &anchor_[i])) return false;
      if (code && geometry_.has_residual() && !Allocate(residual_bytes, &residual_[i]))
        return false;
      if ((!code || geometry_.has_bf16_pages()) && !Allocate(Bf16PageBytes(shape), &bf16_[i])) {
        return false;
      }
      draft_view_[i] = target_view_[i] = {KvPageKind::kBf16, bf16_[i].data, nullptr};
      if (!code) continue;
      draft_view_[i] = {KvPageKind::kAnchor, anchor_[i].data, nullptr};
      if (geometry_.target == KvTarget::kInt4Whole) {
        target_view_[i] = draft_view_[i];
      } else if (!geometry_.has_bf16_pages()) {
        target_view_[i] = {KvPageKind::kFull, anchor_[i].data, residual_[i].data};
      }
    }
  }
  return true;
}

std::span<const KvPageRef> KvSequence::Pages(int layer, KvView view) const {
  const std::vector<KvPageRef>& refs = view == KvView::kDraft ? draft_view_ : target_view_;
  return {refs.data() + Index(layer, 0), static_cast<size_t>(pages_)};
}

const std::byte* KvSequence::Sinks(int layer) const { return sinks_[layer].data; }

std::byte* KvSequence::AnchorBlock(int layer, int64_t page) {
  return anchor_[Index(layer, page)].data;
}
std::byte* KvSequence::ResidualBlock(int layer, int64_t page) {
  return residual_[Index(layer, page)].data;
}
std::byte* KvSequence::Bf16Page(int layer, int64_t page) { return bf16_[Index(layer, page)].data; }
std::byte* KvSequence::SinksBlock(int layer) { return sinks_[layer].data; }

bool KvSequence::HasRoomForRaw(int64_t pages) const {
  if (geometry_.has_bf16_pages()) return true;
  return pool_->HasRoom(pages * KvPool::RoundUp(Bf16PageBytes(geometry_.shape)));
}

bool KvSequence::MakeRaw(int layer, int64_t page) {
  const size_t i = Index(layer, page);
  LYNX_CHECK(page < code_pages_);
  if (bf16_[i].data == nullptr && !Allocate(Bf16PageBytes(geometry_.shape), &bf16_[i]))
    return false;
  draft_view_[i] = target_view_[i] = {KvPageKind::kBf16, bf16_[i].data, nullptr};
  return true;
}

void KvSequence::MarkRestored(int layer, int64_t page) {
  const size_t i = Index(layer, page);
  LYNX_CHECK(geometry_.target == KvTarget::kBf16 && bf16_[i].data != nullptr);
  draft_view_[i] = target_view_[i] = {KvPageKind::kBf16, bf16_[i].data, nullptr};
  Free(&anchor_[i]);
  Free(&residual_[i]);
}

}  // namespace lynx
