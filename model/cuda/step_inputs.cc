#include "model/cuda/step_inputs.h"

#include <algorithm>

namespace lynx::cuda {
namespace {

int64_t RowsOf(std::span<const PassRows> pass) {
  int64_t rows = 0;
  for (const PassRows& part : pass) rows += static_cast<int64_t>(part.tokens.size());
  return rows;
}

template <typename T>
T* At(std::byte* base, size_t offset) {
  return reinterpret_cast<T*>(base + offset);
}

}  // namespace

struct StepInputBuilder::Layout {
  size_t bytes = 0;
  size_t tokens, cos_sin, places;
  size_t sequences = 0, tiles = 0, items = 0;  // kDecode
  size_t prefill = 0;                          // kPrefill

  Layout(PassKind kind, const ModelConfig& config, int64_t rows, int64_t sequence_count,
         int64_t tile_count, int64_t item_count) {
    tokens = Take<int32_t>(rows);
    cos_sin = Take<float>(rows * config.head_dim);
    places = Take<RowPlace>(rows);
    if (kind == PassKind::kPrefill) {
      prefill = Take<PrefillSequence>(sequence_count);
      return;
    }
    sequences = Take<AttentionSequence>(sequence_count);
    tiles = Take<AttentionTile>(tile_count);
    items = Take<AttentionItem>(item_count);
  }
  static size_t LargestBytes(const ModelConfig& config, const PassLimits& limits) {
    const int64_t items = std::max(limits.tiles * limits.tile_items, limits.launch_items);
    return std::max(
        Layout(PassKind::kPrefill, config, limits.rows, limits.rows, 0, 0).bytes,
        Layout(PassKind::kDecode, config, limits.rows, limits.rows, limits.tiles, items).bytes);
  }

 private:
  template <typename T>
  size_t Take(int64_t count) {
    const size_t at = bytes;
    bytes += (static_cast<size_t>(count) * sizeof(T) + 15) / 16 * 16;
    return at;
  }
};

absl::StatusOr<std::unique_ptr<StepInputBuilder>> StepInputBuilder::Create(
    const ModelConfig& config, const PassLimits& limits, cudaStream_t stream) {
  std::unique_ptr<StepInputBuilder> builder(new StepInputBuilder(config, limits, stream));
  const size_t bytes = Layout::LargestBytes(config, limits);
  ASSIGN_OR_RETURN(builder->tables_, PageTables::Create(config.layers, limits.pages));
  ASSIGN_OR_RETURN(builder->host_, PinnedBuffer<std::byte>::Create(bytes));
  ASSIGN_OR_RETURN(builder->device_, DeviceBuffer<std::byte>::Create(bytes));
  ASSIGN_OR_RETURN(builder->copied_, NewEvent());
  return builder;
}

size_t StepInputBuilder::BytesNeeded(const ModelConfig& config, const PassLimits& limits) {
  return PageTables::BytesNeeded(config.layers, limits.pages) +
         Layout::LargestBytes(config, limits);
}

StepInputs StepInputBuilder::Build(PassKind kind, std::span<const PassRows> pass) {
  const int64_t rows = RowsOf(pass);
  LYNX_CHECK(rows <= limits_.rows);
  Must(cudaEventSynchronize(copied_.get()), "the device failed");
  UpdateTables(pass);
  const bool prefill = kind == PassKind::kPrefill;
  Plan(prefill ? std::span<const PassRows>() : pass);  // a prefill has no plan
  const auto count = static_cast<int64_t>(pass.size());
  const auto tile_count = static_cast<int64_t>(plan_.tiles.size());
  const auto item_count = static_cast<int64_t>(plan_.items.size());
  const Layout layout(kind, config_, rows, count, tile_count, item_count);
  LYNX_CHECK(layout.bytes <= host_.size());
  FillRows(pass, layout);
  if (prefill) {
    FillPrefillSequences(pass, layout);
  } else {
    FillSequences(pass, layout);
    FillPlan(layout);
  }
  Copy(layout.bytes);

  std::byte* device = device_.data();
  StepInputs inputs{.rows = rows,
                    .sequence_count = count,
                    .tokens = At<int32_t>(device, layout.tokens),
                    .cos_sin = At<float>(device, layout.cos_sin),
                    .places = At<RowPlace>(device, layout.places)};
  if (prefill) {
    inputs.prefill_sequences = At<PrefillSequence>(device, layout.prefill);
    for (const PassRows& part : pass) {
      inputs.max_rows = std::max(inputs.max_rows, static_cast<int64_t>(part.tokens.size()));
    }
    return inputs;
  }
  inputs.sequences = At<AttentionSequence>(device, layout.sequences);
  inputs.tiles = At<AttentionTile>(device, layout.tiles);
  inputs.items = At<AttentionItem>(device, layout.items);
  inputs.tile_count = tile_count;
  inputs.item_count = item_count;
  inputs.parts = parts_;
  return inputs;
}

void StepInputBuilder::UpdateTables(std::span<const PassRows> pass) {
  sequences_.clear();
  for (const PassRows& part : pass) sequences_.push_back(part.kv);
  tables_->Update(sequences_, stream_);
}

void StepInputBuilder::Plan(std::span<const PassRows> pass) {
  shapes_.clear();
  for (const PassRows& part : pass) {
    shapes_.push_back({part.first_position, static_cast<int32_t>(part.tokens.size())});
  }
  PlanAttention(shapes_, static_cast<int>(config_.q_heads), static_cast<int>(config_.kv_heads),
                /*window=*/0, &plan_);
  CutAttentionPlan(limits_.launch_items, &plan_, &parts_);
  if (parts_.size() != 1) return;
  const int64_t padded = PaddedItems(parts_[0].item_count, limits_.launch_items);
  plan_.items.resize(static_cast<size_t>(padded), {.tile = -1});
  parts_[0].item_count = static_cast<int32_t>(padded);
}

void StepInputBuilder::FillRows(std::span<const PassRows> pass, const Layout& layout) const {
  auto* tokens = At<int32_t>(host_.data(), layout.tokens);
  auto* cos_sin = At<float>(host_.data(), layout.cos_sin);
  auto* places = At<RowPlace>(host_.data(), layout.places);
  int64_t row = 0;
  for (const PassRows& part : pass) {
    const PageTables::Table table = tables_->Of(*part.kv);
    const std::span<const KvPageRef> pages = part.kv->Pages(0, KvView::kTarget);
    for (size_t i = 0; i < part.tokens.size(); ++i, ++row) {
      LYNX_CHECK(part.tokens[i] >= 0 && part.tokens[i] < config_.vocab);
      const int64_t position = part.first_position + static_cast<int64_t>(i);
      const int64_t page = position / kPageTokens;
      LYNX_CHECK(pages[static_cast<size_t>(page)].kind == KvPageKind::kBf16);
      tokens[row] = part.tokens[i];
      rope_.CosSin(position, cos_sin + row * config_.head_dim);
      places[row] = {.page = table.target + page,
                     .layer_stride = table.layer_stride,
                     .token_in_page = static_cast<int32_t>(position % kPageTokens)};
    }
  }
}

void StepInputBuilder::FillSequences(std::span<const PassRows> pass, const Layout& layout) const {
  auto* sequences = At<AttentionSequence>(host_.data(), layout.sequences);
  int64_t row = 0;
  for (const PassRows& part : pass) {
    const PageTables::Table table = tables_->Of(*part.kv);
    *sequences++ = {.pages = table.Of(part.view),
                    .sinks = table.sinks,
                    .page_stride = table.layer_stride,
                    .first_position = part.first_position,
                    .row_begin = static_cast<int32_t>(row),
                    .rows = static_cast<int32_t>(part.tokens.size())};
    row += static_cast<int64_t>(part.tokens.size());
  }
}

void StepInputBuilder::FillPrefillSequences(std::span<const PassRows> pass,
                                            const Layout& layout) const {
  auto* sequences = At<PrefillSequence>(host_.data(), layout.prefill);
  int64_t row = 0;
  for (const PassRows& part : pass) {
    const PageTables::Table table = tables_->Of(*part.kv);
    *sequences++ = {.pages = table.Of(part.view),
                    .page_stride = table.layer_stride,
                    .first_position = part.first_position,
                    .row_begin = static_cast<int32_t>(row),
                    .rows = static_cast<int32_t>(part.tokens.size())};
    row += static_cast<int64_t>(part.tokens.size());
  }
}

void StepInputBuilder::FillPlan(const Layout& layout) const {
  std::copy(plan_.tiles.begin(), plan_.tiles.end(), At<AttentionTile>(host_.data(), layout.tiles));
  std::copy(plan_.items.begin(), plan_.items.end(), At<AttentionItem>(host_.data(), layout.items));
}

void StepInputBuilder::Copy(size_t bytes) {
  Must(cudaMemcpyAsync(device_.data(), host_.data(), bytes, cudaMemcpyHostToDevice, stream_),
       "cannot copy a step's inputs to the device");
  Must(cudaEventRecord(copied_.get(), stream_), "cannot record an event");
}

}  // namespace lynx::cuda
