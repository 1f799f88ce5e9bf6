// Decode steps as CUDA graphs: what a step queues, some hundred launches, becomes one.
//
// A step's launches follow from its key and from what lies in fixed device buffers. A key's first
// step is queued as it is, the second one captured, later ones are replays. Few graphs are kept:
// those that were used last.
//
// Thread: the engine thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <list>

#include "absl/functional/function_ref.h"
#include "kernels/kv_split.h"
#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {

// All that the launches of a step depend on.
struct StepKey {
  int64_t rows = 0;
  int64_t sequences = 0;
  int64_t tiles = 0;  // of attention
  int64_t items = 0;  // of attention, as launched
  KvShape shape{};
  KvSplit split{};
  friend bool operator==(const StepKey&, const StepKey&) = default;
};

class StepGraphs {
 public:
  struct Stats {
    int64_t eager = 0, captured = 0, replayed = 0, evicted = 0;
  };

  // Keeps at most graphs_max graphs; 0: every step is queued as it is. The stream outlives this.
  StepGraphs(cudaStream_t stream, int64_t graphs_max) : stream_(stream), graphs_max_(graphs_max) {}
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Queues the step that `queue` queues on the stream: by calling it, or by a graph of what it
  // queued for this key before. `queue` allocates nothing and waits for nothing.
  void Run(const StepKey& key, absl::FunctionRef<void()> queue);

  const Stats& stats() const { return stats_; }

 private:
  struct Seen {
    StepKey key;
    UniqueGraphExec graph;  // null: seen once
  };
  using Place = std::list<Seen>::iterator;

  Place Find(const StepKey& key);
  bool Capture(absl::FunctionRef<void()> queue, UniqueGraphExec* graph);
  void MakeRoom();
  void Forget(Place seen);

  const cudaStream_t stream_;
  int64_t graphs_max_;
  std::list<Seen> recent_;  // the last used first
  int64_t graphs_ = 0;      // in recent_
  Stats stats_;
};

}  // namespace lynx::cuda
