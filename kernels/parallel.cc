#include "kernels/parallel.h"

#include <algorithm>

namespace lynx {
namespace {

// A task's rows: as many as a tier works on together, since it brings them into its own form once
// a task and reads the task's weights once for so many rows.
constexpr int64_t kTaskRows = 96;
constexpr int64_t kTasksPerThread = 4;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void Gemm(const Kernels& kernels, ThreadPool& pool, const GemmArgs& args) {
  const int64_t panels = CeilDiv(args.w->n, kPanelColumns);
  if (pool.threads() == 1) {
    kernels.gemm(args, 0, panels);
    return;
  }
  // Blocks of rows first: what a task prepares is shared by all its columns.
  const int64_t wanted = pool.threads() * kTasksPerThread;
  const int64_t row_tasks = CeilDiv(args.m, kTaskRows);
  const int64_t rows_per_task = CeilDiv(args.m, row_tasks);
  const int64_t panels_per_task = std::max<int64_t>(1, panels / CeilDiv(wanted, row_tasks));
  const int64_t column_tasks = CeilDiv(panels, panels_per_task);
  pool.ForEach(column_tasks * row_tasks, [&](int64_t task) {
    const int64_t row = task % row_tasks * rows_per_task;
    const int64_t panel = task / row_tasks * panels_per_task;
    GemmArgs share = args;
    share.a += row * args.lda;
    share.c += row * args.ldc;
    share.m = std::min(rows_per_task, args.m - row);
    if (share.m > 0) kernels.gemm(share, panel, std::min(panels, panel + panels_per_task));
  });
}

}  // namespace lynx
