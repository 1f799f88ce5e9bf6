#include "bench/kernel_bench.h"

#include "absl/strings/str_format.h"
#include "bench/kernel_rows.h"
#include "bench/roofline.h"

namespace lynx::bench {

KernelBench::KernelBench(const Kernels& kernels, ThreadPool& pool, double seconds_per_row)
    : kernels_(kernels), pool_(pool), seconds_per_row_(seconds_per_row) {
  report_.tier = std::string(kernels.name);
  report_.threads = pool.threads();
  report_.roofline = {.bytes_per_s = ReadBytesPerSecond(pool),
                      .flops_per_s = FmaFlopsPerSecond(kernels.name, pool)};
}

void KernelBench::Add(std::string kernel, std::string shape, double bytes, double operations,
                      absl::FunctionRef<void()> call) {
  KernelRow row{.kernel = std::move(kernel), .shape = std::move(shape)};
  row.bytes = bytes;
  row.operations = operations;
  row.seconds = MedianSeconds(seconds_per_row_, call);
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
  return absl::StrFormat(
             "kernels %s, %d thread(s): memory read %.1f GB/s, multiply-add %.1f GFLOP/s\n",
             report.tier, report.threads, report.roofline.bytes_per_s / 1e9,
             report.roofline.flops_per_s / 1e9) +
         FormatKernelRows(report.roofline, report.rows);
}

nlohmann::json KernelReportJson(const KernelReport& report) {
  return {{"tier", report.tier},
          {"threads", report.threads},
          {"read_bytes_per_s", report.roofline.bytes_per_s},
          {"fma_flops_per_s", report.roofline.flops_per_s},
          {"rows", KernelRowsJson(report.roofline, report.rows)}};
}

}  // namespace lynx::bench
