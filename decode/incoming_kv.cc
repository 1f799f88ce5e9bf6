#include "decode/incoming_kv.h"

#include <algorithm>
#include <set>

namespace lynx::decode {
IncomingKv::IncomingKv(int64_t prompt_tokens, KvSequence* kv, KvOps* ops)
    : prompt_tokens_(prompt_tokens),
      kv_(kv),
      ops_(ops),
      geometry_(kv->geometry()),
      state_(geometry_.layers * kv->code_pages(), 0),
      tail_bytes_(geometry_.layers * kv->code_pages(), 0),
      sinks_in_(geometry_.layers, false) {
  const int64_t pages = geometry_.layers * kv->code_pages();
  int64_t& anchors = missing_[static_cast<int>(BlockClass::kAnchor)];
  anchors = pages;
  if (kv->code_pages() > 0 && geometry_.has_code()) anchors += geometry_.layers;  // sinks
  if (partial_tokens() > 0) anchors += geometry_.layers;
  if (geometry_.has_residual()) missing_[static_cast<int>(BlockClass::kResidual)] = pages;
  if (geometry_.target == KvTarget::kBf16) {
    missing_[static_cast<int>(BlockClass::kTail)] = pages;
    to_restore_ = pages;
  }
}

std::vector<GrantRange> IncomingKv::Grants() const {
  const KvShape shape = geometry_.shape;
  const auto layers = static_cast<uint32_t>(geometry_.layers);
  const auto pages = static_cast<uint32_t>(kv_->code_pages());
  std::vector<GrantRange> grants;
  auto add = [&](BlockKind kind, uint32_t first_page, uint32_t count, uint64_t bytes, auto memory) {
    if (count > 0) grants.push_back(MakeGrantRange(kind, layers, first_page, count, bytes, memory));
  };
  auto bf16_page = [&](uint32_t layer, uint32_t page) { return kv_->Bf16Landing(layer, page); };
  if (geometry_.has_code()) {
    add(BlockKind::kAnchorPage, 0, pages, AnchorBlockBytes(shape, geometry_.split),
        [&](uint32_t layer, uint32_t page) { return kv_->AnchorLanding(layer, page); });
    add(BlockKind::kSinks, 0, pages > 0 ? 1 : 0, kSinkTokens * PackedTokenBytes(shape),
        [&](uint32_t layer, uint32_t) { return kv_->SinksLanding(layer); });
  } else {
    add(BlockKind::kRawPage, 0, pages, Bf16PageBytes(shape), bf16_page);
  }
  if (geometry_.has_residual()) {
    add(BlockKind::kResidualPage, 0, pages, ResidualBlockBytes(shape, geometry_.split),
        [&](uint32_t layer, uint32_t page) { return kv_->ResidualLanding(layer, page); });
  }
  if (geometry_.target == KvTarget::kBf16) {
    add(BlockKind::kTailPage, 0, pages, Bf16PageBytes(shape), bf16_page);
  }
  add(BlockKind::kPartial, pages, partial_tokens() > 0 ? 1 : 0,
      partial_tokens() * PackedTokenBytes(shape), bf16_page);
  return grants;
}

absl::Status IncomingKv::OnCompletion(const Completion& c) {
  bytes_[static_cast<int>(ClassOf(c.kind))] += c.bytes;
  missing_[static_cast<int>(ClassOf(c.kind))] -= c.pages;
  const int layer = static_cast<int>(c.layer);
  const KvShape shape = geometry_.shape;
  for (int64_t page = c.first_page; page < int64_t{c.first_page} + c.pages; ++page) {
    switch (c.kind) {
      case BlockKind::kAnchorPage:
        TakeIn(kv_->AnchorBlock(layer, page), kv_->AnchorLanding(layer, page),
               AnchorBlockBytes(shape, geometry_.split));
        MarkPage(layer, page, kAnchorIn);
        break;
      case BlockKind::kResidualPage:
        TakeIn(kv_->ResidualBlock(layer, page), kv_->ResidualLanding(layer, page),
               ResidualBlockBytes(shape, geometry_.split));
        MarkPage(layer, page, kResidualIn);
        break;
      case BlockKind::kTailPage:
        if (c.bytes > Bf16PageBytes(shape)) {
          return absl::InvalidArgumentError("a Tail is longer than its page");
        }
        tail_bytes_[Index(layer, page)] = static_cast<uint32_t>(c.bytes);
        MarkPage(layer, page, kTailIn);
        break;
      case BlockKind::kSinks:
        TakeIn(kv_->SinksBlock(layer), kv_->SinksLanding(layer),
               kSinkTokens * PackedTokenBytes(shape));
        sinks_in_[layer] = true;
        QueueIfReady(layer, 0);
        break;
      case BlockKind::kPartial:
        UnpackPartial(layer);
        break;
      case BlockKind::kRawPage:
        TakeIn(kv_->Bf16Page(layer, page), kv_->Bf16Landing(layer, page), Bf16PageBytes(shape));
        break;
    }
  }
  return absl::OkStatus();
}

void IncomingKv::MarkPage(int64_t layer, int64_t page, uint8_t bit) {
  state_[Index(layer, page)] |= bit;
  QueueIfReady(layer, page);
}

void IncomingKv::QueueIfReady(int64_t layer, int64_t page) {
  if (geometry_.target != KvTarget::kBf16) return;
  const bool complete = state_[Index(layer, page)] == (kAnchorIn | kResidualIn | kTailIn);
  if (complete && (page > 0 || sinks_in_[layer])) ready_.emplace_back(layer, page);
}

void IncomingKv::TakeIn(std::byte* block, const std::byte* landing, size_t bytes) {
  if (block != landing && bytes > 0) ops_->Copy(block, landing, bytes);
}

void IncomingKv::UnpackPartial(int layer) {
  const int64_t page = kv_->code_pages();
  const UnpackJob job{.packed = kv_->Bf16Landing(layer, page),
                      .begin = 0,
                      .end = static_cast<int>(partial_tokens()),
                      .page = kv_->Bf16Page(layer, page)};
  ops_->Unpack(geometry_.shape, std::span(&job, 1));
}

absl::StatusOr<IncomingKv::RawPlan> IncomingKv::AddRawPages(std::span<const BlockId> pages) {
  std::set<std::pair<uint32_t, uint32_t>> seen;
  for (const BlockId& id : pages) {
    const bool exists = geometry_.has_code() &&
                        id.layer < static_cast<uint32_t>(geometry_.layers) &&
                        id.page < kv_->code_pages();
    if (!exists || state_[Index(id.layer, id.page)] != 0 ||
        !seen.emplace(id.layer, id.page).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("raw page of layer ", id.layer, ", page ", id.page, " is not expected"));
    }
  }
  RawPlan plan;
  if (!kv_->HasRoomForRaw(static_cast<int64_t>(pages.size()))) {
    return absl::ResourceExhaustedError("no room for pages that could not be coded");
  }
  for (const BlockId& id : pages) {
    if (!kv_->MakeRaw(static_cast<int>(id.layer), id.page)) {
      return absl::ResourceExhaustedError("no room for a page that could not be coded");
    }
  }
  for (const BlockId& id : pages) {
    state_[Index(id.layer, id.page)] = kRaw;
    GrantRange grant{.kind = BlockKind::kRawPage,
                     .first_layer = id.layer,
                     .layers = 1,
                     .first_page = id.page,
                     .pages = 1,
                     .block_bytes = Bf16PageBytes(geometry_.shape),
                     .memory = {kv_->Bf16Landing(static_cast<int>(id.layer), id.page)}};
    plan.grants.push_back(std::move(grant));
    plan.excused.push_back({id.layer, BlockKind::kAnchorPage, id.page});
    if (geometry_.has_residual()) {
      plan.excused.push_back({id.layer, BlockKind::kResidualPage, id.page});
      --missing_[static_cast<int>(BlockClass::kResidual)];
    }
    if (geometry_.target == KvTarget::kBf16) {
      plan.excused.push_back({id.layer, BlockKind::kTailPage, id.page});
      --missing_[static_cast<int>(BlockClass::kTail)];
      --to_restore_;
    }
  }
  return plan;
}

absl::StatusOr<int64_t> IncomingKv::Restore(int64_t pages_max) {
  const int64_t count = std::min<int64_t>(pages_max, ready_.size());
  if (count == 0) return 0;
  const std::span batch(ready_.data() + (ready_.size() - count), static_cast<size_t>(count));
  std::vector<RestoreJob> jobs;
  for (const auto& [layer, page] : batch) {
    jobs.push_back({.first_token = KvSequence::FirstToken(page),
                    .anchor = kv_->AnchorBlock(layer, page),
                    .residual = kv_->ResidualBlock(layer, page),
                    .tail = {kv_->Bf16Landing(layer, page), tail_bytes_[Index(layer, page)]},
                    .sinks = page == 0 ? kv_->SinksBlock(layer) : nullptr,
                    .page = kv_->Bf16Page(layer, page)});
  }
  ops_->Restore(geometry_.shape, geometry_.split, jobs);
  ops_->WaitFor(ops_->Now());
  for (const RestoreJob& job : jobs) {
    if (!job.fits) return absl::InvalidArgumentError("a Tail does not fit its code");
  }
  for (const auto& [layer, page] : batch) kv_->MarkRestored(layer, page);
  ready_.resize(ready_.size() - count);
  to_restore_ -= count;
  return count;
}

bool IncomingKv::target_complete() const {
  return std::all_of(missing_.begin(), missing_.end(), [](int64_t n) { return n == 0; }) &&
         to_restore_ == 0;
}

}  // namespace lynx::decode
