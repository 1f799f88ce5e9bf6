// `lynx bench kernels`: every kernel's speed beside its roofline on this machine.
//
// The roofline is measured, not looked up: memory read bandwidth and the peak rate of fused
// multiply-adds, both with as many threads as the kernels get. Working sets exceed the last-level
// cache, as a model's weights do.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/kernel_report.h"
#include "runtime/status.h"

namespace lynx::bench {

struct KernelBenchOptions {
  int threads = 1;
  std::string tier;               // empty: the fastest
  double seconds_per_row = 0.15;  // each row is repeated for so long, and three times at least
};

struct KernelReport {
  std::string tier;
  int threads = 0;
  Roofline roofline;  // reading memory, and multiply-adds
  std::vector<KernelRow> rows;
};

// Takes seconds and some 500 MB. An unknown or unsupported tier is an error.
absl::StatusOr<KernelReport> RunKernelBench(const KernelBenchOptions& options);

std::string FormatKernelReport(const KernelReport& report);
nlohmann::json KernelReportJson(const KernelReport& report);

}  // namespace lynx::bench
