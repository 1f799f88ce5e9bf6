#include "bench/kernel_report.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace lynx::bench {
namespace {

struct Unit {
  const char* name;
  double size;
};

Unit UnitOf(bool memory, double peak) {
  if (memory) return {"GB/s", 1e9};
  return peak < 1e13 ? Unit{"GFLOP/s", 1e9} : Unit{"TFLOP/s", 1e12};
}

}  // namespace

double RooflineSeconds(const Roofline& roofline, const KernelRow& row) {
  return std::max(row.bytes / roofline.bytes_per_s, row.operations / roofline.flops_per_s);
}

std::string FormatKernelRows(const Roofline& roofline, std::span<const KernelRow> rows) {
  std::string text = absl::StrFormat("%-14s %-34s %12s %18s %18s %7s\n", "kernel", "shape", "us",
                                     "measured", "roofline", "%");
  for (const KernelRow& row : rows) {
    const bool memory = row.bytes / roofline.bytes_per_s >= row.operations / roofline.flops_per_s;
    const double work = memory ? row.bytes : row.operations;
    const Unit unit = UnitOf(memory, roofline.flops_per_s);
    const double best = RooflineSeconds(roofline, row);
    absl::StrAppendFormat(&text, "%-14s %-34s %12.1f %10.1f %-7s %10.1f %-7s %7.1f\n", row.kernel,
                          row.shape, row.seconds * 1e6, work / row.seconds / unit.size, unit.name,
                          work / best / unit.size, unit.name, 100 * best / row.seconds);
  }
  return text;
}

nlohmann::json KernelRowsJson(const Roofline& roofline, std::span<const KernelRow> rows) {
  nlohmann::json json = nlohmann::json::array();
  for (const KernelRow& row : rows) {
    const double best = RooflineSeconds(roofline, row);
    json.push_back({{"kernel", row.kernel},
                    {"shape", row.shape},
                    {"seconds", row.seconds},
                    {"bytes_per_s", row.bytes / row.seconds},
                    {"flops_per_s", row.operations / row.seconds},
                    {"roofline_seconds", best},
                    {"of_roofline", best / row.seconds}});
  }
  return json;
}

}  // namespace lynx::bench
