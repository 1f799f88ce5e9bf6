// What this machine can do at most, measured on the threads of a pool.
#pragma once

#include <string_view>

#include "absl/functional/function_ref.h"
#include "runtime/thread_pool.h"

namespace lynx::bench {

// The median duration of `call` over `seconds`, at least three calls after one to warm up.
double MedianSeconds(double seconds, absl::FunctionRef<void()> call);

double ReadBytesPerSecond(ThreadPool& pool);

// Of the instructions that `tier` multiplies with.
double FmaFlopsPerSecond(std::string_view tier, ThreadPool& pool);

// One thread's loop of independent multiply-adds, `rounds` times over; returns the operations made.
// One file each, with the tier's flags.
double FmaLoopScalar(long rounds);
double FmaLoopAvx2(long rounds);
double FmaLoopAvx512(long rounds);
double FmaLoopAvx512Bf16(long rounds);

}  // namespace lynx::bench
