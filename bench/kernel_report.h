// Rows of a kernel bench beside a roofline: a kernel cannot take less than the larger of bytes /
// bandwidth and operations / peak.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>

namespace lynx::bench {

// What a machine can do at best, as measured.
struct Roofline {
  double bytes_per_s = 0;
  double flops_per_s = 0;
};

struct KernelRow {
  std::string kernel;
  std::string shape;
  double seconds = 0;     // median of one call
  double bytes = 0;       // that must cross the memory bus
  double operations = 0;  // floating-point, a fused multiply-add counts two
};

double RooflineSeconds(const Roofline& roofline, const KernelRow& row);

// A table. Each row has its rate in the unit that bounds it, the roofline's, and the percentage.
std::string FormatKernelRows(const Roofline& roofline, std::span<const KernelRow> rows);
nlohmann::json KernelRowsJson(const Roofline& roofline, std::span<const KernelRow> rows);

}  // namespace lynx::bench
