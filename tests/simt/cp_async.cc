// Who is to copy what when; the copies themselves are made in the kernel's own, instrumented code.
#include "engine.h"

namespace simt {

void CopyQueue::Clear() {
  ops.clear();
  group_ends.clear();
  ops_made = 0;
  groups_made = 0;
}

// A long kernel's queue holds only what is under way.
void CopyQueue::Shrink() {
  constexpr size_t kKeep = 1024;
  if (ops_made < kKeep || ops_made * 2 < ops.size()) return;
  const size_t rest = ops.size() - ops_made;
  for (size_t i = 0; i < rest; ++i) ops[i] = ops[ops_made + i];
  const size_t groups = group_ends.size() - groups_made;
  for (size_t i = 0; i < groups; ++i) group_ends[i] = group_ends[groups_made + i] - ops_made;
  while (ops.size() > rest) ops.pop_back();
  while (group_ends.size() > groups) group_ends.pop_back();
  ops_made = 0;
  groups_made = 0;
}

void CpPush(CpOp op) { CurrentEngine()->current->copies.ops.push_back(op); }

void CpCommit() {
  CopyQueue& q = CurrentEngine()->current->copies;
  q.Shrink();
  q.group_ends.push_back(q.ops.size());
}

int CpWait(int pending, CpOp** ops) {
  CopyQueue& q = CurrentEngine()->current->copies;
  const size_t groups = q.group_ends.size();
  if (groups <= q.groups_made + static_cast<size_t>(pending)) return 0;
  q.groups_made = groups - static_cast<size_t>(pending);
  const size_t end = q.group_ends[q.groups_made - 1];
  const size_t count = end - q.ops_made;
  *ops = q.ops.begin() + q.ops_made;
  q.ops_made = end;
  return static_cast<int>(count);
}

}  // namespace simt
