#include "absl/strings/str_format.h"
#include "bench/cuda/gpu_kernel_bench.h"

namespace lynx::bench {

std::string FormatGpuKernelReport(const GpuKernelReport& report) {
  return absl::StrFormat("GPU %s: copies %.1f GB/s, BF16 products %.1f TFLOP/s%s\n", report.device,
                         report.roofline.bytes_per_s / 1e9, report.roofline.flops_per_s / 1e12,
                         report.tiny ? "; tiny sizes, one call each: TIMES MEAN NOTHING" : "") +
         FormatKernelRows(report.roofline, report.rows);
}

nlohmann::json GpuKernelReportJson(const GpuKernelReport& report) {
  return {{"device", report.device},
          {"times_mean_nothing", report.tiny},
          {"copy_bytes_per_s", report.roofline.bytes_per_s},
          {"product_flops_per_s", report.roofline.flops_per_s},
          {"rows", KernelRowsJson(report.roofline, report.rows)}};
}

}  // namespace lynx::bench
