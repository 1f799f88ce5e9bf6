#include <algorithm>
#include <vector>

#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/scratch.h"
#include "kernels/parallel.h"
#include "runtime/aligned_buffer.h"

namespace lynx {
namespace {

// Tasks that keep every worker busy although they differ in length.
constexpr int64_t kTasksPerThread = 4;

struct Task {
  const AttentionArgs* args;
  AttentionShare share;
};

// Kept from call to call by the engine's thread, so that a step allocates nothing once it has
// grown.
struct Plan {
  std::vector<Task> shares;
  std::vector<Task> splits;
  AlignedBuffer<float> partials;
};

int64_t RowsPerShare(const AttentionArgs& args) {
  const int group = args.q_heads / args.shape.kv_heads;
  return std::max(1, kQueryBlock / group);
}

void CheckArgs(const AttentionArgs& args) {
  LYNX_CHECK(args.shape.kv_heads > 0 && args.shape.head_dim > 0 && args.shape.head_dim % 2 == 0);
  LYNX_CHECK(args.q_heads > 0 && args.q_heads % args.shape.kv_heads == 0);
  const int64_t positions = args.first_position + args.rows;
  LYNX_CHECK(static_cast<int64_t>(args.pages.size()) * kPageTokens >= positions);
}

// Every KV head and block of rows of every sequence.
void PlanShares(std::span<const AttentionArgs> sequences, std::vector<Task>* shares) {
  shares->clear();
  for (const AttentionArgs& args : sequences) {
    CheckArgs(args);
    const int64_t step = RowsPerShare(args);
    for (int64_t row = 0; row < args.rows; row += step) {
      const int64_t end = std::min(row + step, args.rows);
      for (int head = 0; head < args.shape.kv_heads; ++head) {
        shares->push_back({&args, {.kv_head = head, .row_begin = row, .row_end = end}});
      }
    }
  }
}

// Cuts the shares' splits into about kTasksPerThread tasks a thread and gives each share its part
// of the partials. Fewer shares than that mean few rows, so the partials stay small.
void PlanSplits(int threads, Plan* plan) {
  plan->splits.clear();
  size_t floats = 0;
  for (const Task& task : plan->shares) floats += AttentionPartialFloats(*task.args, task.share);
  if (plan->partials.size() < floats) plan->partials = AlignedBuffer<float>(floats + floats / 2);
  float* partials = plan->partials.data();

  const auto shares = static_cast<int64_t>(plan->shares.size());
  const int64_t cuts = (threads * kTasksPerThread + shares - 1) / shares;
  for (Task& task : plan->shares) {
    task.share.partials = partials;
    partials += AttentionPartialFloats(*task.args, task.share);
    const int64_t splits = AttentionSplits(*task.args);
    const int64_t step = (splits + cuts - 1) / cuts;
    for (int64_t split = 0; split < splits; split += step) {
      Task part = task;
      part.share.phase = AttentionShare::Phase::kSplits;
      part.share.split_begin = split;
      part.share.split_end = std::min(split + step, splits);
      plan->splits.push_back(part);
    }
    task.share.phase = AttentionShare::Phase::kMerge;
  }
}

void RunTasks(const Kernels& kernels, ThreadPool& pool, const std::vector<Task>& tasks) {
  pool.ForEach(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
    const Task& task = tasks[static_cast<size_t>(i)];
    const size_t bytes = AttentionScratchBytes(*task.args, task.share);
    kernels.attend(*task.args, task.share, ThreadScratch(bytes));
  });
}

bool WorthSplitting(std::span<const AttentionArgs> sequences, int threads, size_t shares) {
  if (threads == 1 || static_cast<int64_t>(shares) >= threads * kTasksPerThread) return false;
  return std::any_of(sequences.begin(), sequences.end(), [](const AttentionArgs& args) {
    return args.rows > 0 && AttentionSplits(args) > 1;
  });
}

}  // namespace

void Attention(const Kernels& kernels, ThreadPool& pool, std::span<const AttentionArgs> sequences) {
  thread_local Plan plan;
  PlanShares(sequences, &plan.shares);
  if (WorthSplitting(sequences, pool.threads(), plan.shares.size())) {
    PlanSplits(pool.threads(), &plan);
    RunTasks(kernels, pool, plan.splits);
  }
  RunTasks(kernels, pool, plan.shares);
}

}  // namespace lynx
