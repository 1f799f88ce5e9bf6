// `lynx bench kernels`: every kernel's speed beside its roofline on this machine.
//
// The roofline is measured, not looked up: memory read bandwidth and the peak rate of fused
// multiply-adds, both with as many threads as the kernels get. A kernel cannot take less than the
// larger of bytes / bandwidth and operations / peak; working sets exceed the last-level cache, as a
// model's weights do.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace lynx::bench {

struct KernelBenchOptions {
  int threads = 1;
  std::string tier;               // empty: the fastest
  double seconds_per_row = 0.15;  // each row is repeated for so long, and three times at least
};

struct KernelRow {
  std::string kernel;
  std::string shape;
  double seconds = 0;     // median of one call
  double bytes = 0;       // that must cross the memory bus
  double operations = 0;  // floating-point, a fused multiply-add counts two
  double roofline_seconds = 0;
};

struct KernelReport {
  std::string tier;
  int threads = 0;
  double read_bytes_per_s = 0;
  double fma_flops_per_s = 0;
  std::vector<KernelRow> rows;
};

// Takes seconds and some 500 MB. An unknown or unsupported tier is an error.
absl::StatusOr<KernelReport> RunKernelBench(const KernelBenchOptions& options);

std::string FormatKernelReport(const KernelReport& report);
nlohmann::json KernelReportJson(const KernelReport& report);

}  // namespace lynx::bench
