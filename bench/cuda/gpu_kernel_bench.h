// `lynx bench kernels --gpu` and gpu_kernel_bench: every kernel of kernels/cuda beside what this
// GPU can do at best.
//
// The roofline is measured: a large copy inside the device's memory (bytes read and written), and
// the best of cuBLASLt's products of large BF16 matrices. A row is the median of many single calls,
// each between two CUDA events and after a kernel that has filled L2 with other data, so that
// everything comes from memory. The events' own time of some 2 us is part of it: rows of a few us
// say little.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/kernel_report.h"
#include "runtime/status.h"

namespace lynx::bench {

struct GpuBenchOptions {
  bool tiny = false;  // Small sizes, one call each, warm: shows that everything runs (also
                      // emulated); the times mean nothing
  std::string only;   // kernels whose name begins with this; empty: all
};

struct GpuKernelReport {
  std::string device;
  bool tiny = false;
  Roofline roofline;
  std::vector<KernelRow> rows;
};

// Takes about a minute and up to 10 GB of device memory. UNIMPLEMENTED in a build without the CUDA
// backend, FAILED_PRECONDITION without a GPU, RESOURCE_EXHAUSTED with too little memory on it.
absl::StatusOr<GpuKernelReport> RunGpuKernelBench(const GpuBenchOptions& options);

std::string FormatGpuKernelReport(const GpuKernelReport& report);
nlohmann::json GpuKernelReportJson(const GpuKernelReport& report);

}  // namespace lynx::bench
