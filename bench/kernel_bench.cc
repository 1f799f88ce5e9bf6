#include "bench/kernel_bench.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "bench/kernel_rows.h"
#include "bench/roofline.h"

namespace lynx::bench {
namespace {

// The unit that a kernel's roofline is made of.
bool MemoryBound(const KernelReport& report, const KernelRow& row) {
  return row.bytes / report.read_bytes_per_s >= row.operations / report.fma_flops_per_s;
}

}  // namespace

KernelBench::KernelBench(const Kernels& kernels, ThreadPool& pool, double seconds_per_row)
    : kernels_(kernels), pool_(pool), seconds_per_row_(seconds_per_row) {
  report_.tier = std::string(kernels.name);
  report_.threads = pool.threads();
  report_.read_bytes_per_s = ReadBytesPerSecond(pool);
  report_.fma_flops_per_s = FmaFlopsPerSecond(kernels.name, pool);
}

void KernelBench::Add(std::string kernel, std::string shape, double bytes, double operations,
                      absl::FunctionRef<void()> call) {
  KernelRow row{.kernel = std::move(kernel), .shape = std::move(shape)};
  row.bytes = bytes;
  row.operations = operations;
  row.seconds = MedianSeconds(seconds_per_row_, call);
  row.roofline_seconds =
      std::max(bytes / report_.read_bytes_per_s, operations / report_.fma_flops_per_s);
  report_.rows.push_back(std::move(row));
}

absl::StatusOr<KernelReport> RunKernelBench(const KernelBenchOptions& options) {
  if (options.threads < 1) return absl::InvalidArgumentError("threads must be at least 1");
  const Kernels* kernels = SelectKernels(options.tier);
  if (kernels == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("kernels \"", options.tier, "\" are unknown or not usable on this machine"));
  }
  ThreadPool pool(options.threads);
  KernelBench bench(*kernels, pool, options.seconds_per_row);
  AddGemmRows(bench);
  AddElementwiseRows(bench);
  AddKvRows(bench);
  return bench.TakeReport();
}

std::string FormatKernelReport(const KernelReport& report) {
  std::string text = absl::StrFormat(
      "kernels %s, %d thread(s): memory read %.1f GB/s, multiply-add %.1f GFLOP/s\n", report.tier,
      report.threads, report.read_bytes_per_s / 1e9, report.fma_flops_per_s / 1e9);
  absl::StrAppendFormat(&text, "%-10s %-30s %12s %18s %18s %7s\n", "kernel", "shape", "us",
                        "measured", "roofline", "%");
  for (const KernelRow& row : report.rows) {
    const bool memory = MemoryBound(report, row);
    const double work = memory ? row.bytes : row.operations;
    const char* unit = memory ? "GB/s" : "GFLOP/s";
    absl::StrAppendFormat(&text, "%-10s %-30s %12.1f %10.1f %-7s %10.1f %-7s %7.1f\n", row.kernel,
                          row.shape, row.seconds * 1e6, work / row.seconds / 1e9, unit,
                          work / row.roofline_seconds / 1e9, unit,
                          100 * row.roofline_seconds / row.seconds);
  }
  return text;
}

nlohmann::json KernelReportJson(const KernelReport& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (const KernelRow& row : report.rows) {
    rows.push_back({{"kernel", row.kernel},
                    {"shape", row.shape},
                    {"seconds", row.seconds},
                    {"bytes_per_s", row.bytes / row.seconds},
                    {"flops_per_s", row.operations / row.seconds},
                    {"roofline_seconds", row.roofline_seconds},
                    {"of_roofline", row.roofline_seconds / row.seconds}});
  }
  return {{"tier", report.tier},
          {"threads", report.threads},
          {"read_bytes_per_s", report.read_bytes_per_s},
          {"fma_flops_per_s", report.fma_flops_per_s},
          {"rows", std::move(rows)}};
}

}  // namespace lynx::bench
