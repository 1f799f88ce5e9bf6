#include "kernels/pack.h"

#include <cstring>

#include "runtime/status.h"

namespace lynx {
namespace {

int64_t PanelElements(int64_t k) { return (k + 1) / 2 * 2 * kPanelColumns; }

}  // namespace

PackedWeights::PackedWeights(int64_t n, int64_t k) : n_(n), k_(k) {
  LYNX_CHECK(n > 0 && k > 0);
  const int64_t panels = (n + kPanelColumns - 1) / kPanelColumns;
  data_ = AlignedBuffer<bf16>(static_cast<size_t>(panels * PanelElements(k)));
  std::memset(static_cast<void*>(data_.data()), 0, data_.size() * sizeof(bf16));
}

void PackedWeights::SetRows(int64_t row_begin, int64_t count, const bf16* rows) {
  LYNX_CHECK(row_begin >= 0 && count >= 0 && row_begin + count <= n_);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = row_begin + i;
    const bf16* from = rows + i * k_;
    bf16* to = data_.data() + row / kPanelColumns * PanelElements(k_) + row % kPanelColumns * 2;
    for (int64_t k = 0; k < k_; ++k) to[k / 2 * kPanelColumns * 2 + k % 2] = from[k];
  }
}

}  // namespace lynx
