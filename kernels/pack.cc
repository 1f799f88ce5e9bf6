#include "kernels/pack.h"

#include "runtime/status.h"

namespace lynx {
namespace {

int64_t PanelElements(int64_t k) { return (k + 1) / 2 * 2 * kPanelColumns; }

// Element 0 of a row of the stack; its element k lies k / 2 * kPanelColumns * 2 + k % 2 behind.
int64_t RowStart(int64_t row, int64_t k) {
  return row / kPanelColumns * PanelElements(k) + row % kPanelColumns * 2;
}

}  // namespace

PackedWeights::PackedWeights(int64_t n, int64_t k, HugePageArena& memory) : n_(n), k_(k) {
  LYNX_CHECK(n > 0 && k > 0);
  data_ = reinterpret_cast<bf16*>(memory.Allocate(static_cast<size_t>(bytes())));
}

int64_t PackedWeights::bytes() const {
  const int64_t panels = (n_ + kPanelColumns - 1) / kPanelColumns;
  return panels * PanelElements(k_) * static_cast<int64_t>(sizeof(bf16));
}

void PackedWeights::SetRows(int64_t row_begin, int64_t count, const bf16* rows) {
  LYNX_CHECK(row_begin >= 0 && count >= 0 && row_begin + count <= n_);
  for (int64_t i = 0; i < count; ++i) {
    const bf16* from = rows + i * k_;
    bf16* to = data_ + RowStart(row_begin + i, k_);
    for (int64_t k = 0; k < k_; ++k) to[k / 2 * kPanelColumns * 2 + k % 2] = from[k];
  }
}

void PackedWeights::GetRow(int64_t index, bf16* row) const {
  LYNX_CHECK(index >= 0 && index < n_);
  const bf16* from = data_ + RowStart(index, k_);
  for (int64_t k = 0; k < k_; ++k) row[k] = from[k / 2 * kPanelColumns * 2 + k % 2];
}

}  // namespace lynx
