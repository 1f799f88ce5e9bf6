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

int64_t TailCount(const Run& run) {
  const KvGeometry& g = run.geometry;
  return g.target == KvTarget::kBf16 ? g.layers * run.full_pages() : 0;
}

size_t TailBytes(const Run& run) {
  return TailCount(run) * KvPool::RoundUp(Bf16PageBytes(run.geometry.shape));
}

KvPool& SentPool(const KvPlaces& places) {
  return places.sent != nullptr ? *places.sent : *places.pages;
}

std::span<std::byte> PartialBlock(const Run& run, int layer) {
  const size_t bytes = run.partial_tokens() * PackedTokenBytes(run.geometry.shape);
  return {run.partial + layer * bytes, bytes};
}

// A block for the page's copy; null if there is no room.
std::byte* NewRawCopy(Run& run, int layer, int64_t page, KvPool& pool) {
  std::byte* copy = pool.TryAllocate(Bf16PageBytes(run.geometry.shape));
  if (copy != nullptr) run.raw_copies[{layer, page}] = copy;
  return copy;
}

// A format without code sends every page, so that all copies are had from the start.
bool ReserveRawCopies(Run& run, const KvPlaces& places) {
  if (places.sent == nullptr || run.geometry.has_code()) return true;
  for (int layer = 0; layer < run.geometry.layers; ++layer) {
    for (int64_t page = 0; page < run.full_pages(); ++page) {
      if (NewRawCopy(run, layer, page, *places.sent) == nullptr) return false;
    }
  }
  return true;
}

bool ReserveTails(Run& run, KvPool& pool) {
  run.tails.resize(TailCount(run));
  for (Run::Tail& tail : run.tails) {
    tail.data = pool.TryAllocate(Bf16PageBytes(run.geometry.shape));
    if (tail.data == nullptr) return false;
  }
  return true;
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
         TailBytes(run) + KvPool::RoundUp(run.partial_bytes());
}

size_t SentBytes(const Run& run) {
  KvGeometry g = run.geometry;
  size_t pages = g.layers * run.full_pages() * KvPool::RoundUp(Bf16PageBytes(g.shape));
  if (g.has_code()) {
    g.target = KvTarget::kInt8;  // code blocks and sinks alone
    const int64_t full = run.full_pages();
    pages = full > 0 ? KvSequence::BytesNeeded(g, full, full * kPageTokens) : 0;
  }
  return pages + TailBytes(run) + KvPool::RoundUp(run.partial_bytes());
}

bool ReserveRun(Run& run, const KvPlaces& places) {
  if (places.sent == nullptr && !places.pages->HasRoom(RunBytes(run))) return false;
  run.kv = KvSequence::Create(ComputeGeometry(run), run.full_pages(), run.prompt_tokens(), places);
  bool room =
      run.kv != nullptr && ReserveRawCopies(run, places) && ReserveTails(run, SentPool(places));
  if (room && run.partial_bytes() > 0) {
    run.partial = SentPool(places).TryAllocate(run.partial_bytes());
    room = run.partial != nullptr;
  }
  if (!room) ReleaseRun(run, places);
  return room;
}

void ReleaseRun(Run& run, const KvPlaces& places) {
  run.kv.reset();
  for (const Run::Tail& tail : run.tails) {
    if (tail.data != nullptr) SentPool(places).Free(tail.data, Bf16PageBytes(run.geometry.shape));
  }
  run.tails = {};
  if (run.partial != nullptr) SentPool(places).Free(run.partial, run.partial_bytes());
  run.partial = nullptr;
  for (const auto& [place, copy] : run.raw_copies) {
    SentPool(places).Free(copy, Bf16PageBytes(run.geometry.shape));
  }
  run.raw_copies.clear();
}

LayerBlocks QueueBlocks(Run& run, int layer, int64_t count, KvOps& ops) {
  const KvGeometry& g = run.geometry;
  KvSequence& kv = *run.kv;
  LayerBlocks made{.first_page = run.position / kPageTokens,
                   .end_page = (run.position + count) / kPageTokens};
  std::vector<PackJob> packs;
  made.sinks = g.has_code() && made.first_page == 0 && made.end_page > 0;
  if (made.sinks) packs.push_back({kv.Bf16Page(layer, 0), 0, kSinkTokens, kv.SinksBlock(layer)});
  made.partial = run.position + count == run.prompt_tokens() && run.partial_tokens() > 0;
  if (made.partial) {
    packs.push_back({kv.Bf16Page(layer, run.full_pages()), 0,
                     static_cast<int>(run.partial_tokens()), PartialBlock(run, layer).data()});
  }
  for (int64_t page = made.first_page; page < made.end_page; ++page) {
    if (g.has_code()) {
      const bool tail = g.target == KvTarget::kBf16;
      made.code.push_back({.page = kv.Bf16Page(layer, page),
                           .first_token = KvSequence::FirstToken(page),
                           .anchor = kv.AnchorBlock(layer, page),
                           .residual = kv.ResidualBlock(layer, page),
                           .tail = tail ? run.tail(layer, page).data : nullptr});
    } else if (auto copy = run.raw_copies.find({layer, page}); copy != run.raw_copies.end()) {
      ops.Copy(copy->second, kv.Bf16Page(layer, page), Bf16PageBytes(g.shape));
    }
  }
  ops.Pack(g.shape, packs);
  ops.Code(g.shape, g.split, made.code);
  made.queued = ops.Now();
  return made;
}

absl::StatusOr<std::vector<BlockData>> ListBlocks(Run& run, int layer, const LayerBlocks& made,
                                                  const KvPlaces& places, KvOps& ops) {
  std::vector<BlockData> blocks;
  if (made.sinks) blocks.push_back(*FindBlock(run, Id(layer, BlockKind::kSinks, 0)));
  for (int64_t page = made.first_page; page < made.end_page; ++page) {
    if (made.code.empty()) {
      blocks.push_back(*FindBlock(run, Id(layer, BlockKind::kRawPage, page)));
      continue;
    }
    const CodeJob& job = made.code[page - made.first_page];
    if (job.result == SplitResult::kCode) {
      if (job.tail != nullptr) run.tail(layer, page).bytes = job.tail_bytes;
      ListPage(run, layer, page, &blocks);
      continue;
    }
    run.raw_pages.push_back(Id(layer, BlockKind::kRawPage, page));
    if (places.sent == nullptr) continue;
    std::byte* copy = NewRawCopy(run, layer, page, *places.sent);
    if (copy == nullptr) {
      return absl::ResourceExhaustedError("no room to send a page that could not be coded");
    }
    ops.Copy(copy, run.kv->Bf16Page(layer, page), Bf16PageBytes(run.geometry.shape));
  }
  if (made.partial) {
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
      const Run::Tail& tail = run.tail(layer, id.page);
      return data(tail.data, tail.bytes);
    }
    case BlockKind::kRawPage: {
      const auto copy = run.raw_copies.find({layer, int64_t{id.page}});
      return data(copy != run.raw_copies.end() ? copy->second : run.kv->Bf16Page(layer, id.page),
                  Bf16PageBytes(g.shape));
    }
    case BlockKind::kSinks:
      return data(run.kv->SinksBlock(layer), kSinkTokens * PackedTokenBytes(g.shape));
    case BlockKind::kPartial:
      return BlockData{id, PartialBlock(run, layer)};
  }
  return absl::InvalidArgumentError(absl::StrCat("this format has no ", BlockKindName(id.kind)));
}

}  // namespace lynx::prefill
