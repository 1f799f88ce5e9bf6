// gemm and the row operations.
#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/kernel_rows.h"
#include "kernels/pack.h"
#include "kernels/parallel.h"
#include "runtime/aligned_buffer.h"

namespace lynx::bench {
namespace {

// Values around one, never denormal: arithmetic on them takes its normal time.
void Fill(AlignedBuffer<bf16>& buffer) {
  for (size_t i = 0; i < buffer.size(); ++i) {
    buffer[i] = bf16{static_cast<uint16_t>(0x3f00 + i % 251 + (i % 7 & 1) * 0x8000)};
  }
}
AlignedBuffer<float> Floats(int64_t n) {
  AlignedBuffer<float> buffer(static_cast<size_t>(n));
  for (size_t i = 0; i < buffer.size(); ++i) buffer[i] = 0.01f * static_cast<float>(i % 499) - 2.5f;
  return buffer;
}

void AddGemmShape(KernelBench& bench, int64_t n, int64_t k, const std::vector<int64_t>& rows) {
  HugePageArena memory;
  PackedWeights weights(n, k, memory);
  AlignedBuffer<bf16> row(static_cast<size_t>(k));
  Fill(row);
  for (int64_t i = 0; i < n; ++i) weights.SetRows(i, 1, row.data());
  const PackedMatrix w = weights.view();
  const int64_t most = *std::max_element(rows.begin(), rows.end());
  AlignedBuffer<bf16> a(static_cast<size_t>(most * k));
  Fill(a);
  AlignedBuffer<float> c = Floats(most * n);
  for (int64_t m : rows) {
    const GemmArgs args = {.a = a.data(), .lda = k, .w = &w, .c = c.data(), .ldc = n, .m = m};
    const double bytes = static_cast<double>(weights.bytes()) + static_cast<double>(m * k * 2) +
                         static_cast<double>(m * n * 4);
    bench.Add("gemm", absl::StrCat("m=", m, " n=", n, " k=", k), bytes,
              2.0 * static_cast<double>(m * n * k),
              [&] { Gemm(bench.kernels(), bench.pool(), args); });
  }
}

// One call over `rows` rows that together exceed the caches.
struct RowWork {
  int64_t rows = 0, columns = 0;
  double bytes_per_value = 0, operations_per_value = 0;
};

template <typename F>
void AddRows(KernelBench& bench, const char* kernel, const RowWork& work, F f) {
  const double values = static_cast<double>(work.rows * work.columns);
  bench.Add(kernel, absl::StrCat("rows=", work.rows, " n=", work.columns),
            values * work.bytes_per_value, values * work.operations_per_value, [&] {
              constexpr int64_t kBatch = 16;
              bench.pool().ForEach((work.rows + kBatch - 1) / kBatch, [&](int64_t batch) {
                const int64_t end = std::min(work.rows, (batch + 1) * kBatch);
                for (int64_t row = batch * kBatch; row < end; ++row) f(row);
              });
            });
}

}  // namespace

void AddGemmRows(KernelBench& bench) {
  const bool slow = bench.kernels().name == "scalar";
  const std::vector<int64_t> rows =
      slow ? std::vector<int64_t>{1} : std::vector<int64_t>{1, 2, 3, 4, 6, 8, 12, 16, 32, 64};
  AddGemmShape(bench, 49152, 576, rows);
  AddGemmShape(bench, 14336, 4096, slow ? rows : std::vector<int64_t>{1, 2, 4, 8, 12});
  if (slow) return;
  AddGemmShape(bench, 1536, 576, {64, 512});
  AddGemmShape(bench, 576, 1536, {512});
  AddGemmShape(bench, 4096, 4096, {128, 512});
}

void AddElementwiseRows(KernelBench& bench) {
  constexpr int64_t kRows = 4096, kColumns = 4096;
  const Kernels& kernels = bench.kernels();
  AlignedBuffer<float> x = Floats(kRows * kColumns);
  const AlignedBuffer<float> weight = Floats(2 * kColumns);
  AlignedBuffer<bf16> out(static_cast<size_t>(kRows * kColumns));
  Fill(out);
  // Bytes count reads and writes; operations are those of the scalar specification.
  AddRows(bench, "rms_norm", {kRows, kColumns, 6, 4}, [&](int64_t r) {
    kernels.rms_norm(&x[r * kColumns], weight.data(), 1e-5f, kColumns, &out[r * kColumns]);
  });
  AddRows(bench, "silu_mul", {kRows, kColumns / 2, 10, 22}, [&](int64_t r) {
    const float* gate = &x[r * kColumns];
    kernels.silu_mul(gate, gate + kColumns / 2, kColumns / 2, &out[r * kColumns]);
  });
  AddRows(bench, "gelu_mul", {kRows, kColumns / 2, 10, 27}, [&](int64_t r) {
    const float* gate = &x[r * kColumns];
    kernels.gelu_mul(gate, gate + kColumns / 2, kColumns / 2, &out[r * kColumns]);
  });
  AddRows(bench, "argmax", {kRows, kColumns, 4, 1},
          [&](int64_t r) { kernels.argmax(&x[r * kColumns], kColumns); });
  AddRows(bench, "widen", {kRows, kColumns, 6, 0},
          [&](int64_t r) { kernels.widen(&out[r * kColumns], kColumns, &x[r * kColumns]); });
  // Halves that keep a vector's length, so that repeating the call neither grows nor shrinks it.
  AlignedBuffer<float> cos_sin(128);
  for (size_t i = 0; i < 128; ++i) cos_sin[i] = i < 64 ? 0.6f : 0.8f;
  AddRows(bench, "rope", {kRows, kColumns, 8, 3},
          [&](int64_t r) { kernels.rope(&x[r * kColumns], kColumns / 128, 128, cos_sin.data()); });
}

}  // namespace lynx::bench
