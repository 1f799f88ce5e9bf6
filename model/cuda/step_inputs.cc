#include "model/cuda/step_inputs.h"

#include <algorithm>

namespace lynx::cuda {
namespace {

int64_t PagesOf(const PassRows& part) {
  const int64_t end = part.first_position + static_cast<int64_t>(part.tokens.size());
  return (end + kPageTokens - 1) / kPageTokens;
}

int64_t RowsOf(std::span<const PassRows> pass) {
  int64_t rows = 0;
  for (const PassRows& part : pass) rows += static_cast<int64_t>(part.tokens.size());
  return rows;
}

}  // namespace

template <typename T>
StepInputBuilder::Array<T> StepInputBuilder::Reserve(size_t count) {
  const Array<T> array{bytes_, count};
  bytes_ += (count * sizeof(T) + 15) / 16 * 16;
  return array;
}

// The host's buffer is free again when its last copy is done.
void StepInputBuilder::EnsureRoom() {
  if (copied_.get() == nullptr) {
    auto event = NewEvent();
    Must(event.status());
    copied_ = std::move(*event);
  } else {
    Must(cudaEventSynchronize(copied_.get()), "the device failed");
  }
  if (bytes_ <= host_.size()) return;
  const size_t room = bytes_ + bytes_ / 2;
  auto host = PinnedBuffer<std::byte>::Create(room);
  auto device = DeviceBuffer<std::byte>::Create(room);
  Must(host.status());
  Must(device.status());
  host_ = std::move(*host);
  device_ = std::move(*device);
}

void StepInputBuilder::FillRows(std::span<const PassRows> pass, int32_t* tokens, float* cos_sin,
                                int32_t* token_in_page, std::byte** kv_pages) const {
  const int64_t rows = RowsOf(pass);
  int64_t row = 0;
  for (const PassRows& part : pass) {
    for (size_t i = 0; i < part.tokens.size(); ++i, ++row) {
      LYNX_CHECK(part.tokens[i] >= 0 && part.tokens[i] < config_.vocab);
      const int64_t position = part.first_position + static_cast<int64_t>(i);
      tokens[row] = part.tokens[i];
      token_in_page[row] = static_cast<int32_t>(position % kPageTokens);
      rope_.CosSin(position, cos_sin + row * config_.head_dim);
      for (int layer = 0; layer < config_.layers; ++layer) {
        kv_pages[layer * rows + row] = part.kv->Bf16Page(layer, position / kPageTokens);
      }
    }
  }
}

// refs[layers, pages], sinks[layers].
void StepInputBuilder::FillPages(const PassRows& part, int64_t pages, PageRef* refs,
                                 const std::byte** sinks) const {
  for (int layer = 0; layer < config_.layers; ++layer) {
    const std::span<const KvPageRef> view = part.kv->Pages(layer, part.view);
    for (int64_t page = 0; page < pages; ++page) {
      refs[layer * pages + page] = {.data = view[page].data,
                                    .residual = view[page].residual,
                                    .kind = KindOf(view[page].kind)};
    }
    sinks[layer] = part.kv->Sinks(layer);
  }
}

StepInputs StepInputBuilder::Build(PassKind kind, std::span<const PassRows> pass) {
  const auto layers = static_cast<size_t>(config_.layers);
  const auto rows = static_cast<size_t>(RowsOf(pass));
  const size_t count = pass.size();
  std::vector<AttentionRows> shapes;
  size_t pages = 0;
  for (const PassRows& part : pass) {
    shapes.push_back({part.first_position, static_cast<int32_t>(part.tokens.size())});
    pages += static_cast<size_t>(PagesOf(part));
  }
  if (kind == PassKind::kPrefill) shapes.clear();  // it has no plan
  PlanAttention(shapes, static_cast<int>(config_.q_heads), static_cast<int>(config_.kv_heads),
                /*window=*/0, &plan_);

  bytes_ = 0;
  const auto tokens = Reserve<int32_t>(rows);
  const auto cos_sin = Reserve<float>(rows * static_cast<size_t>(config_.head_dim));
  const auto token_in_page = Reserve<int32_t>(rows);
  const auto kv_pages = Reserve<std::byte*>(layers * rows);
  const auto refs = Reserve<PageRef>(layers * pages);
  const auto sinks = Reserve<const std::byte*>(layers * count);
  const auto sequences = Reserve<AttentionSequence>(count);
  const auto prefill = Reserve<PrefillSequence>(count);
  const auto tiles = Reserve<AttentionTile>(plan_.tiles.size());
  const auto items = Reserve<AttentionItem>(plan_.items.size());
  EnsureRoom();

  FillRows(pass, Host(tokens), Host(cos_sin), Host(token_in_page), Host(kv_pages));
  std::copy(plan_.tiles.begin(), plan_.tiles.end(), Host(tiles));
  std::copy(plan_.items.begin(), plan_.items.end(), Host(items));
  size_t first_ref = 0;
  int64_t row = 0, max_rows = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t of_part = PagesOf(pass[i]);
    const auto part_rows = static_cast<int64_t>(pass[i].tokens.size());
    FillPages(pass[i], of_part, Host(refs) + first_ref, Host(sinks) + i * layers);
    Host(sequences)[i] = {.pages = Device(refs) + first_ref,
                          .sinks = Device(sinks) + i * layers,
                          .page_stride = of_part,
                          .first_position = pass[i].first_position,
                          .row_begin = static_cast<int32_t>(row),
                          .rows = static_cast<int32_t>(part_rows)};
    Host(prefill)[i] = {.pages = Device(refs) + first_ref,
                        .page_stride = of_part,
                        .first_position = pass[i].first_position,
                        .row_begin = static_cast<int32_t>(row),
                        .rows = static_cast<int32_t>(part_rows)};
    first_ref += layers * static_cast<size_t>(of_part);
    row += part_rows;
    max_rows = std::max(max_rows, part_rows);
  }
  Must(cudaMemcpyAsync(device_.data(), host_.data(), bytes_, cudaMemcpyHostToDevice, stream_),
       "cannot copy a step's inputs to the device");
  Must(cudaEventRecord(copied_.get(), stream_), "cannot record an event");

  StepInputs inputs{.rows = row,
                    .tokens = Device(tokens),
                    .cos_sin = Device(cos_sin),
                    .token_in_page = Device(token_in_page),
                    .kv_pages = Device(kv_pages)};
  if (kind == PassKind::kPrefill) {
    inputs.prefill_sequences = Device(prefill);
    inputs.sequence_count = static_cast<int64_t>(count);
    inputs.max_rows = max_rows;
  } else {
    inputs.sequences = Device(sequences);
    inputs.tiles = Device(tiles);
    inputs.items = Device(items);
    inputs.tile_count = static_cast<int64_t>(plan_.tiles.size());
    inputs.item_count = static_cast<int64_t>(plan_.items.size());
  }
  return inputs;
}

}  // namespace lynx::cuda
