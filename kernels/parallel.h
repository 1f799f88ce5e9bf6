// Spreads operations over an engine's threads. Results do not depend on the number of threads.
#pragma once

#include <span>

#include "kernels/ops.h"
#include "runtime/thread_pool.h"

namespace lynx {

void Gemm(const Kernels& kernels, ThreadPool& pool, const GemmArgs& args);

// All sequences of a step at once; long contexts of few sequences are spread over splits as well.
void Attention(const Kernels& kernels, ThreadPool& pool, std::span<const AttentionArgs> sequences);

}  // namespace lynx
