// What the parts of the kernel bench share: the machine's roofline and how a row is measured.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "bench/kernel_bench.h"
#include "kernels/ops.h"
#include "runtime/thread_pool.h"

namespace lynx::bench {

class KernelBench {
 public:
  KernelBench(const Kernels& kernels, ThreadPool& pool, double seconds_per_row);

  const Kernels& kernels() const { return kernels_; }
  ThreadPool& pool() { return pool_; }

  // Measures `call`, which moves `bytes` and makes `operations`, and adds its row to the report.
  void Add(std::string kernel, std::string shape, double bytes, double operations,
           absl::FunctionRef<void()> call);

  KernelReport TakeReport() { return std::move(report_); }

 private:
  const Kernels& kernels_;
  ThreadPool& pool_;
  const double seconds_per_row_;
  KernelReport report_;
};

// The rows of one part each.
void AddGemmRows(KernelBench& bench);
void AddElementwiseRows(KernelBench& bench);
void AddKvRows(KernelBench& bench);

}  // namespace lynx::bench
