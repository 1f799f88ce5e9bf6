#include "model/cuda/page_tables.h"

#include <algorithm>
#include <utility>

namespace lynx::cuda {
namespace {

// A gap between two changes that is copied along with them, since the mirror holds it too: a copy
// of its own costs more than these bytes.
constexpr size_t kGapBytesMax = size_t{64} << 10;

PageRef RefOf(const KvPageRef& ref) {
  return {.data = ref.data, .residual = ref.residual, .kind = KindOf(ref.kind)};
}

}  // namespace

// [layers, view, pages] of PageRef, so that a layer's changes in both views lie close together;
// then [layers] pointers to sinks.
size_t PageTables::TableBytes(int64_t layers, int64_t pages) {
  const int64_t bytes = layers * (2 * pages * static_cast<int64_t>(sizeof(PageRef)) +
                                  static_cast<int64_t>(sizeof(std::byte*)));
  return KvPool::RoundUp(static_cast<size_t>(bytes));
}

// A sequence has a page of each layer at least: so many one-page tables are the worst case.
size_t PageTables::BytesNeeded(int64_t layers, int64_t pages_max) {
  return TableBytes(layers, 1) * static_cast<size_t>((pages_max + layers - 1) / layers);
}

absl::StatusOr<std::unique_ptr<PageTables>> PageTables::Create(int64_t layers, int64_t pages_max) {
  std::unique_ptr<PageTables> tables(new PageTables(layers));
  const size_t bytes = BytesNeeded(layers, pages_max);
  ASSIGN_OR_RETURN(tables->device_, Arena::Create(MemoryKind::kDevice, bytes));
  ASSIGN_OR_RETURN(tables->mirror_, PinnedBuffer<std::byte>::Create(tables->device_->bytes()));
  return tables;
}

void PageTables::Update(std::span<const KvSequence* const> sequences, cudaStream_t stream) {
  if (!UpdateAll(sequences)) {
    // There is room, but in pieces: all tables are laid out anew, as passes come to need them.
    FreeAll();
    LYNX_CHECK(UpdateAll(sequences));
  }
  CopyDirty(stream);
}

// False if there is no room for one of them.
bool PageTables::UpdateAll(std::span<const KvSequence* const> sequences) {
  for (const KvSequence* sequence : sequences) {
    const auto found = tables_.find(sequence->life());
    if (found != tables_.end()) {
      WriteChanges(*sequence, &found->second);
      continue;
    }
    Entry* added = Add(*sequence);
    if (added == nullptr) return false;
    WriteAll(*sequence, added);
  }
  return true;
}

PageTables::Entry* PageTables::Add(const KvSequence& sequence) {
  FreeEnded();
  const size_t bytes = TableBytes(layers_, sequence.pages());
  std::byte* memory = device_->Allocate(bytes);
  if (memory == nullptr) return nullptr;
  Entry& entry = tables_[sequence.life()];
  entry = {.offset = static_cast<size_t>(memory - device_->base()), .bytes = bytes};
  return &entry;
}

void PageTables::FreeEnded() {
  std::erase_if(tables_, [&](const auto& table) {
    if (!table.first.expired()) return false;
    device_->Free(device_->base() + table.second.offset, table.second.bytes);
    return true;
  });
}

void PageTables::FreeAll() {
  for (const auto& [life, entry] : tables_) {
    device_->Free(device_->base() + entry.offset, entry.bytes);
  }
  tables_.clear();
}

void PageTables::WritePage(const KvSequence& sequence, int layer, int64_t page, Entry* entry) {
  auto* refs = reinterpret_cast<PageRef*>(mirror_.data() + entry->offset);
  for (KvView view : {KvView::kDraft, KvView::kTarget}) {
    const int64_t row = 2 * layer + (view == KvView::kTarget ? 1 : 0);
    const auto index = static_cast<size_t>(row * sequence.pages() + page);
    refs[index] = RefOf(sequence.Pages(layer, view)[static_cast<size_t>(page)]);
    entry->dirty_begin = std::min(entry->dirty_begin, index * sizeof(PageRef));
    entry->dirty_end = std::max(entry->dirty_end, (index + 1) * sizeof(PageRef));
  }
}

void PageTables::WriteAll(const KvSequence& sequence, Entry* entry) {
  LYNX_CHECK(sequence.geometry().layers == layers_);
  auto* sinks = reinterpret_cast<const std::byte**>(
      mirror_.data() + entry->offset +
      static_cast<size_t>(layers_ * 2 * sequence.pages()) * sizeof(PageRef));
  for (int layer = 0; layer < layers_; ++layer) {
    for (int64_t page = 0; page < sequence.pages(); ++page) {
      WritePage(sequence, layer, page, entry);
    }
    sinks[layer] = sequence.Sinks(layer);
  }
  entry->changes = sequence.changes().size();
  entry->dirty_begin = 0;
  entry->dirty_end = entry->bytes;
}

void PageTables::WriteChanges(const KvSequence& sequence, Entry* entry) {
  const std::span changes = sequence.changes().subspan(entry->changes);
  if (changes.empty()) return;
  if (entry->dirty_begin == entry->dirty_end) {
    entry->dirty_begin = entry->bytes;
    entry->dirty_end = 0;
  }
  for (const KvSequence::PagePlace& place : changes) {
    WritePage(sequence, place.layer, place.page, entry);
  }
  entry->changes += changes.size();
}

void PageTables::CopyDirty(cudaStream_t stream) {
  ranges_.clear();
  for (auto& [life, entry] : tables_) {
    if (entry.dirty_begin == entry.dirty_end) continue;
    ranges_.emplace_back(entry.offset + entry.dirty_begin, entry.offset + entry.dirty_end);
    entry.dirty_begin = entry.dirty_end = 0;
  }
  std::sort(ranges_.begin(), ranges_.end());
  for (size_t i = 0; i < ranges_.size();) {
    const size_t begin = ranges_[i].first;
    size_t end = ranges_[i].second;
    for (++i; i < ranges_.size() && ranges_[i].first <= end + kGapBytesMax; ++i) {
      end = ranges_[i].second;
    }
    Must(cudaMemcpyAsync(device_->base() + begin, mirror_.data() + begin, end - begin,
                         cudaMemcpyHostToDevice, stream),
         "cannot copy page tables to the device");
  }
}

PageTables::Table PageTables::Of(const KvSequence& sequence) const {
  const auto found = tables_.find(sequence.life());
  LYNX_CHECK(found != tables_.end());
  const std::byte* base = device_->base() + found->second.offset;
  const auto* refs = reinterpret_cast<const PageRef*>(base);
  return {.draft = refs,
          .target = refs + sequence.pages(),
          .sinks = reinterpret_cast<const std::byte* const*>(refs + layers_ * 2 * sequence.pages()),
          .layer_stride = 2 * sequence.pages()};
}

}  // namespace lynx::cuda
