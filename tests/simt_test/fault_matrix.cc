// fault_matrix FAULT deferred|eager: runs the sample kernel with one fault, over odd lengths, three
// orders of threads and the given landing of cp.async, and compares with double precision. Prints
// how the fault was noticed and exits with 1, or "clean" and exits with 0. Built once for each
// sanitizer.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "api.h"
#include "fake_cuda.h"
#include "tests/simt_test/flash_decode.h"

namespace lynx::testing {
namespace {

void Check(cudaError_t error) {
  if (error == cudaSuccess) return;
  printf("caught: %s\n", simt::LastError().c_str());
  exit(1);
}

template <class T>
class Device {
 public:
  explicit Device(size_t count) : count_(count) {
    Check(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)));
  }
  explicit Device(const std::vector<T>& values) : Device(values.size()) {
    Check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Device() { cudaFree(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  T* data() const { return data_; }
  std::vector<T> Read() const {
    std::vector<T> values(count_);
    Check(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_ = 0;
};

float Bf16ToFloat(uint16_t x) {
  const uint32_t bits = uint32_t{x} << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
uint16_t ToBf16(float x) {  // of finite numbers, ties to even
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Case {
  std::vector<int> lengths;
  int splits;
};

struct Inputs {
  int max_pages = 1;
  std::vector<uint16_t> q;
  std::vector<uint8_t> pages;
  std::vector<int> table;
};

Inputs MakeInputs(const Case& c) {
  std::mt19937 random(7);
  Inputs in;
  int used = 0;
  for (int length : c.lengths) {
    const int pages = (length + kPage - 1) / kPage;
    used += pages;
    in.max_pages = std::max(in.max_pages, pages);
  }
  std::vector<int> ids(static_cast<size_t>(used));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int>(i);
  std::shuffle(ids.begin(), ids.end(), random);
  in.table.assign(c.lengths.size() * static_cast<size_t>(in.max_pages), -1);
  for (size_t s = 0; s < c.lengths.size(); ++s) {
    for (int i = 0; i < (c.lengths[s] + kPage - 1) / kPage; ++i) {
      in.table[s * static_cast<size_t>(in.max_pages) + static_cast<size_t>(i)] = ids.back();
      ids.pop_back();
    }
  }
  in.pages.resize(static_cast<size_t>(used) * kPageBytes);
  for (int page = 0; page < used; ++page) {
    uint8_t* data = in.pages.data() + page * kPageBytes;
    for (int i = 0; i < 2 * kCodeBytes; ++i) data[i] = static_cast<uint8_t>(random());
    for (int i = 0; i < 2 * kHeadDim; ++i) {
      const float scale = 0.01f + 0.0001f * static_cast<float>(random() % 64);
      memcpy(data + 2 * kCodeBytes + i * 4, &scale, 4);
    }
  }
  std::normal_distribution<float> normal;
  in.q.resize(c.lengths.size() * kHeads * kHeadDim);
  for (uint16_t& x : in.q) x = ToBf16(normal(random));
  return in;
}

double ValueOf(const Inputs& in, int sequence, int token, int c, bool v) {
  const int id = in.table[static_cast<size_t>(sequence * in.max_pages + token / kPage)];
  const uint8_t* page = in.pages.data() + id * kPageBytes;
  const int code = page[(v ? kCodeBytes : 0) + token % kPage * kHeadDim + c];
  float scale;
  memcpy(&scale, page + 2 * kCodeBytes + (v ? kScaleBytes : 0) + c * 4, 4);
  return Bf16ToFloat(ToBf16(static_cast<float>(code - kCodeZero) * scale));
}

// One head's output in double precision.
std::vector<double> Expected(const Inputs& in, int sequence, int head, int length) {
  const uint16_t* q = in.q.data() + (sequence * kHeads + head) * kHeadDim;
  std::vector<double> scores(static_cast<size_t>(length));
  double max = -INFINITY;
  for (int t = 0; t < length; ++t) {
    double& score = scores[static_cast<size_t>(t)];
    for (int c = 0; c < kHeadDim; ++c)
      score += Bf16ToFloat(q[c]) * ValueOf(in, sequence, t, c, false);
    score /= std::sqrt(double{kHeadDim});
    max = std::max(max, score);
  }
  std::vector<double> out(kHeadDim);
  double sum = 0;
  for (int t = 0; t < length; ++t) {
    const double weight = std::exp(scores[static_cast<size_t>(t)] - max);
    sum += weight;
    for (int c = 0; c < kHeadDim; ++c) {
      out[static_cast<size_t>(c)] += weight * ValueOf(in, sequence, t, c, true);
    }
  }
  for (double& x : out) x = length > 0 ? x / sum : 0;
  return out;
}

// The largest difference from the expected output; infinite if something is not a number.
double WorstError(const Case& c, const Inputs& in, const std::vector<float>& out) {
  double worst = 0;
  for (size_t row = 0; row < c.lengths.size() * kHeads; ++row) {
    const int sequence = static_cast<int>(row) / kHeads;
    const auto want = Expected(in, sequence, static_cast<int>(row) % kHeads,
                               c.lengths[static_cast<size_t>(sequence)]);
    for (size_t i = 0; i < want.size(); ++i) {
      const double error = std::fabs(out[row * kHeadDim + i] - want[i]);
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  return worst;
}

void RunCase(const Case& c, Fault fault) {
  const Inputs in = MakeInputs(c);
  const size_t rows = c.lengths.size() * kHeads;
  const auto splits = static_cast<size_t>(c.splits);
  const Device<uint16_t> q(in.q);
  const Device<uint8_t> pages(in.pages);
  const Device<int> table(in.table);
  const Device<int> lengths(c.lengths);
  const Device<float> part_out(rows * splits * kHeadDim);
  const Device<float> part_stats(rows * splits * 2);
  const Device<float> out(rows * kHeadDim);
  const double log2e = 1.4426950408889634;
  Check(FlashDecode({.q = q.data(),
                     .pages = pages.data(),
                     .table = table.data(),
                     .lengths = lengths.data(),
                     .part_out = part_out.data(),
                     .part_stats = part_stats.data(),
                     .out = out.data(),
                     .sequences = static_cast<int>(c.lengths.size()),
                     .max_pages = in.max_pages,
                     .splits = c.splits,
                     .scale = static_cast<float>(log2e / std::sqrt(double{kHeadDim})),
                     .fault = fault},
                    nullptr));
  Check(cudaDeviceSynchronize());
  // The weights are rounded to bf16 (2^-9 of values below 2.1), sums in float32 add far less.
  constexpr double kTolerance = 2.1 / 512;
  const double error = WorstError(c, in, out.Read());
  if (error <= kTolerance) return;
  printf("caught: wrong result, off by %g\n", error);
  exit(1);
}

int Main(int fault, bool deferred) {
  simt::options().cp_defer = deferred;
  for (uint64_t seed : {0, 1, 2}) {
    simt::options().seed = seed;
    for (const Case& c :
         {Case{{1}, 1}, Case{{64, 65, 200}, 3}, Case{{127, 3, 0, 320}, 2}, Case{{130}, 7}}) {
      RunCase(c, static_cast<Fault>(fault));
    }
  }
  if (simt::stats().ldsm_conflicts != 0) {
    printf("caught: bank conflicts\n");
    return 1;
  }
  printf("clean\n");
  return 0;
}

}  // namespace
}  // namespace lynx::testing

int main(int argc, char** argv) {
  const int fault = argc == 3 ? atoi(argv[1]) : -1;
  if (fault < 0 || fault >= static_cast<int>(lynx::testing::Fault::kCount)) {
    fprintf(stderr, "usage: fault_matrix FAULT deferred|eager\n");
    return 2;
  }
  return lynx::testing::Main(fault, strcmp(argv[2], "deferred") == 0);
}
