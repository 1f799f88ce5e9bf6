#include "kernels/cuda/linear_check.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "runtime/cuda/cuda_buffer.h"
#include "runtime/cuda/cuda_status.h"

namespace lynx::cuda {
namespace {

// Numbers in (-2, 2) of all magnitudes down to 2^-7, so that sums in another order round
// differently.
std::vector<bf16> RandomRows(int64_t count) {
  std::vector<bf16> values(static_cast<size_t>(count));
  uint64_t state = 0x9e3779b97f4a7c15u;
  for (bf16& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t bits = state >> 33;
    const uint64_t sign = bits & 1, exponent = 120 + (bits >> 1 & 7), fraction = bits >> 4 & 127;
    value = bf16{static_cast<uint16_t>(sign << 15 | exponent << 7 | fraction)};
  }
  return values;
}

RowOrder Range(int64_t begin, int64_t end) {
  RowOrder rows(static_cast<size_t>(end - begin));
  std::iota(rows.begin(), rows.end(), begin);
  return rows;
}

// Runs batches of a product over the same input rows.
class Batches {
 public:
  static absl::StatusOr<Batches> Create(int64_t n, int64_t k, int64_t rows, cudaStream_t stream) {
    Batches made(n, k, stream);
    made.inputs_ = RandomRows(rows * k);
    ASSIGN_OR_RETURN(made.a_, DeviceBuffer<bf16>::Create(static_cast<size_t>(rows * k)));
    ASSIGN_OR_RETURN(made.c_, DeviceBuffer<float>::Create(static_cast<size_t>(rows * n)));
    return made;
  }

  // [order.size(), n]
  absl::StatusOr<std::vector<float>> Run(LinearProduct product, const RowOrder& order) {
    std::vector<bf16> a;
    a.reserve(order.size() * static_cast<size_t>(k_));
    for (const int64_t row : order) {
      const auto from = inputs_.begin() + row * k_;
      a.insert(a.end(), from, from + k_);
    }
    RETURN_IF_ERROR(Copy(a_.data(), a.data(), a.size() * sizeof(bf16), cudaMemcpyHostToDevice));
    RETURN_IF_ERROR(product({.a = a_.data(),
                             .lda = k_,
                             .c = c_.data(),
                             .ldc = n_,
                             .m = static_cast<int64_t>(order.size()),
                             .accumulate = false}));
    std::vector<float> c(order.size() * static_cast<size_t>(n_));
    RETURN_IF_ERROR(Copy(c.data(), c_.data(), c.size() * sizeof(float), cudaMemcpyDeviceToHost));
    return c;
  }

 private:
  Batches(int64_t n, int64_t k, cudaStream_t stream) : n_(n), k_(k), stream_(stream) {}
  absl::Status Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(to, from, bytes, kind, stream_), "copying rows"));
    return ToStatus(cudaStreamSynchronize(stream_), "checking a product");
  }

  int64_t n_, k_;
  cudaStream_t stream_;
  std::vector<bf16> inputs_;  // [rows, k]
  DeviceBuffer<bf16> a_;
  DeviceBuffer<float> c_;
};

// Whether each row of a batch has the bits that it has among all rows.
bool SameRows(const std::vector<float>& batch, const RowOrder& order, const std::vector<float>& all,
              int64_t n) {
  const size_t row_bytes = static_cast<size_t>(n) * sizeof(float);
  for (size_t i = 0; i < order.size(); ++i) {
    const float* got = batch.data() + static_cast<int64_t>(i) * n;
    if (std::memcmp(got, all.data() + order[i] * n, row_bytes) != 0) return false;
  }
  return true;
}

std::string Describe(int64_t n, int64_t k, size_t m) {
  return absl::StrCat("the product with weights [", n, ", ", k, "] of ", m, " rows");
}

}  // namespace

std::vector<RowOrder> DecodeBatches() {
  std::vector<RowOrder> batches;
  RowOrder rows = Range(0, 130);
  for (const int64_t m : {1, 2, 5, 16, 65, 130}) {
    for (int turn = 0; turn < 3; ++turn) {
      // 37 has no factor in common with 130: every turn puts other rows into other places.
      std::rotate(rows.begin(), rows.begin() + 37, rows.end());
      batches.emplace_back(rows.begin(), rows.begin() + m);
    }
    std::reverse(rows.begin(), rows.end());
  }
  return batches;
}

std::vector<RowOrder> PrefillBatches(int64_t rows) {
  std::vector<RowOrder> batches;
  const int64_t third = (rows + 2) / 3;
  for (const int64_t chunk : {rows / 2 + 1, third, int64_t{64}, int64_t{7}}) {
    if (chunk <= 0 || chunk >= rows) continue;
    // The first chunks, and the rest: a last chunk of any length.
    const int64_t some = std::min(rows, 2 * chunk);
    for (int64_t at = 0; at < some; at += chunk) {
      batches.push_back(Range(at, std::min(rows, at + chunk)));
    }
    batches.push_back(Range(rows - (rows - 1) % chunk - 1, rows));
  }
  // A chunk that stands behind another sequence's.
  RowOrder behind = Range(third, rows);
  const RowOrder first = Range(0, third);
  behind.insert(behind.end(), first.begin(), first.end());
  batches.push_back(std::move(behind));
  batches.push_back({rows - 1});
  return batches;
}

absl::Status CheckStable(LinearProduct product, int64_t n, int64_t k, int64_t rows,
                         const std::vector<RowOrder>& batches, cudaStream_t stream) {
  ASSIGN_OR_RETURN(Batches runner, Batches::Create(n, k, rows, stream));
  const auto run = [&](const RowOrder& order) -> absl::StatusOr<std::vector<float>> {
    absl::StatusOr<std::vector<float>> c = runner.Run(product, order);
    if (c.ok()) return c;
    return absl::Status(c.status().code(),
                        absl::StrCat(Describe(n, k, order.size()), ": ", c.status().message()));
  };
  ASSIGN_OR_RETURN(const std::vector<float> all, run(Range(0, rows)));
  for (const RowOrder& order : batches) {
    ASSIGN_OR_RETURN(const std::vector<float> batch, run(order));
    if (!SameRows(batch, order, all, n)) {
      return absl::FailedPreconditionError(
          absl::StrCat(Describe(n, k, order.size()), " has other bits than among ", rows));
    }
  }
  return absl::OkStatus();
}

}  // namespace lynx::cuda
