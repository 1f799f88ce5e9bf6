#include "prefill/run.h"

#include <algorithm>

namespace lynx::prefill {
namespace {

// What the computing side holds: BF16 pages always, code blocks if the format has code.
KvGeometry ComputeGeometry(const Run& run) {
  KvGeometry g = run.geometry;
  g.target = g.has_code() ? KvTarget::kBf16 : KvTarget::kBf16Whole;
  return g;
}

size_t SideBytes(const Run& run) {
  const KvGeometry& g = run.geometry;
  size_t bytes = g.layers * run.partial_tokens() * PackedTokenBytes(g.shape);
  if (g.target == KvTarget::kBf16) bytes += g.layers * run.full_pages() * Bf16PageBytes(g.shape);
  return bytes;
}

std::span<std::byte> PartialBlock(Run& run, int layer) {
  const size_t bytes = run.partial_tokens() * PackedTokenBytes(run.geometry.shape);
  return std::span(run.partial).subspan(layer * bytes, bytes);
}

enum class PageState : uint8_t { kCoded, kRaw };

PageState CodePage(Run& run, int layer, int64_t page, const Kernels& kernels) {
  const KvGeometry& g = run.geometry;
  KvSequence& kv = *run.kv;
  const SplitResult result = kernels.split_page({.shape = g.shape,
                                                 .split = g.split,
                                                 .page = kv.Bf16Page(layer, page),
                                                 .first_token = KvSequence::FirstToken(page),
                                                 .anchor = kv.AnchorBlock(layer, page),
                                                 .residual = kv.ResidualBlock(layer, page)});
  if (result == SplitResult::kRaw) return PageState::kRaw;
  if (g.target == KvTarget::kBf16) {
    thread_local std::vector<std::byte> scratch;
    scratch.resize(Bf16PageBytes(g.shape));
    const size_t bytes = kernels.tail_encode({.shape = g.shape,
                                              .split = g.split,
                                              .page = kv.Bf16Page(layer, page),
                                              .first_token = KvSequence::FirstToken(page),
                                              .anchor = kv.AnchorBlock(layer, page),
                                              .residual = kv.ResidualBlock(layer, page),
                                              .tail = scratch.data()});
    run.tails[layer * run.full_pages() + page].assign(scratch.begin(), scratch.begin() + bytes);
  }
  return PageState::kCoded;
}

BlockId Id(int layer, BlockKind kind, int64_t page) {
  return {static_cast<uint32_t>(layer), kind, static_cast<uint32_t>(page)};
}

// The blocks of a page that was coded.
void ListPage(const Run& run, int layer, int64_t page, std::vector<BlockData>* blocks) {
  for (BlockKind kind : {BlockKind::kAnchorPage, BlockKind::kResidualPage, BlockKind::kTailPage}) {
    if (kind == BlockKind::kResidualPage && !run.geometry.has_residual()) continue;
    if (kind == BlockKind::kTailPage && run.geometry.target != KvTarget::kBf16) continue;
    blocks->push_back(*FindBlock(run, Id(layer, kind, page)));
  }
}

}  // namespace

size_t RunBytes(const Run& run) {
  return KvSequence::BytesNeeded(ComputeGeometry(run), run.full_pages(), run.prompt_tokens()) +
         KvPool::RoundUp(SideBytes(run));
}

bool ReserveRun(Run& run, KvPool* pool) {
  if (!pool->HasRoom(RunBytes(run))) return false;
  run.kv = KvSequence::Create(ComputeGeometry(run), run.full_pages(), run.prompt_tokens(), pool);
  if (run.kv == nullptr) return false;
  run.reserved_bytes = SideBytes(run);
  pool->Reserve(run.reserved_bytes);
  const KvGeometry& g = run.geometry;
  run.partial.resize(g.layers * run.partial_tokens() * PackedTokenBytes(g.shape));
  if (g.target == KvTarget::kBf16) run.tails.resize(g.layers * run.full_pages());
  return true;
}

void ReleaseRun(Run& run, KvPool* pool) {
  if (run.kv == nullptr) return;
  run.kv.reset();
  pool->Unreserve(run.reserved_bytes);
  run.reserved_bytes = 0;
  run.partial = {};
  run.tails = {};
}

std::vector<BlockData> MakeBlocks(Run& run, int layer, int64_t count, const Kernels& kernels,
                                  ThreadPool& pool) {
  std::vector<BlockData> blocks;
  const KvShape shape = run.geometry.shape;
  const int64_t first = run.position / kPageTokens;
  const int64_t end = (run.position + count) / kPageTokens;
  if (run.geometry.has_code()) {
    if (first == 0 && end > 0) {
      PackTokens(shape, run.kv->Bf16Page(layer, 0), 0, kSinkTokens, run.kv->SinksBlock(layer));
      blocks.push_back(*FindBlock(run, Id(layer, BlockKind::kSinks, 0)));
    }
    std::vector<PageState> states(end - first);
    pool.ForEach(end - first,
                 [&](int64_t i) { states[i] = CodePage(run, layer, first + i, kernels); });
    for (int64_t page = first; page < end; ++page) {
      if (states[page - first] == PageState::kCoded) {
        ListPage(run, layer, page, &blocks);
      } else {
        run.raw_pages.push_back(Id(layer, BlockKind::kRawPage, page));
      }
    }
  } else {
    for (int64_t page = first; page < end; ++page) {
      blocks.push_back(*FindBlock(run, Id(layer, BlockKind::kRawPage, page)));
    }
  }
  if (run.position + count == run.prompt_tokens() && run.partial_tokens() > 0) {
    PackTokens(shape, run.kv->Bf16Page(layer, run.full_pages()), 0,
               static_cast<int>(run.partial_tokens()), PartialBlock(run, layer).data());
    blocks.push_back(*FindBlock(run, Id(layer, BlockKind::kPartial, run.full_pages())));
  }
  return blocks;
}

absl::StatusOr<BlockData> FindBlock(const Run& run, const BlockId& id) {
  const KvGeometry& g = run.geometry;
  const bool page_ok = id.kind == BlockKind::kPartial
                           ? id.page == run.full_pages() && run.partial_tokens() > 0
                           : id.page < run.full_pages();
  if (run.kv == nullptr || id.layer >= static_cast<uint32_t>(g.layers) || !page_ok) {
    return absl::InvalidArgumentError(absl::StrCat("no block: layer ", id.layer, ", kind ",
                                                   BlockKindName(id.kind), ", page ", id.page));
  }
  const int layer = static_cast<int>(id.layer);
  auto data = [&](const std::byte* bytes, size_t size) -> absl::StatusOr<BlockData> {
    if (bytes == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("this format has no ", BlockKindName(id.kind)));
    }
    return BlockData{id, {bytes, size}};
  };
  switch (id.kind) {
    case BlockKind::kAnchorPage:
      return data(run.kv->AnchorBlock(layer, id.page), AnchorBlockBytes(g.shape, g.split));
    case BlockKind::kResidualPage:
      return data(run.kv->ResidualBlock(layer, id.page), ResidualBlockBytes(g.shape, g.split));
    case BlockKind::kTailPage: {
      if (run.tails.empty()) break;
      // An empty Tail has no bytes of its own, but it is a block all the same.
      const std::vector<std::byte>& tail = run.tails[layer * run.full_pages() + id.page];
      return BlockData{id, std::span(tail)};
    }
    case BlockKind::kRawPage:
      return data(run.kv->Bf16Page(layer, id.page), Bf16PageBytes(g.shape));
    case BlockKind::kSinks:
      return data(run.kv->SinksBlock(layer), kSinkTokens * PackedTokenBytes(g.shape));
    case BlockKind::kPartial:
      return BlockData{id, PartialBlock(const_cast<Run&>(run), layer)};
  }
  return absl::InvalidArgumentError(absl::StrCat("this format has no ", BlockKindName(id.kind)));
}

}  // namespace lynx::prefill
