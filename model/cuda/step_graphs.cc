#include "model/cuda/step_graphs.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace lynx::cuda {
namespace {

constexpr size_t kSeenMax = 256;  // keys, with and without a graph

}  // namespace

StepGraphs::~StepGraphs() { cudaStreamSynchronize(stream_); }  // none may be running

void StepGraphs::Run(const StepKey& key, absl::FunctionRef<void()> queue) {
  const Place seen = Find(key);
  if (seen == recent_.end()) {
    ++stats_.eager;
    queue();
    if (graphs_max_ == 0) return;
    recent_.push_front({.key = key, .graph = {}});
    if (recent_.size() > kSeenMax) Forget(std::prev(recent_.end()));
    return;
  }
  recent_.splice(recent_.begin(), recent_, seen);
  if (seen->graph.get() == nullptr) {
    MakeRoom();
    if (!Capture(queue, &seen->graph)) {
      ++stats_.eager;
      return queue();
    }
    ++graphs_;
    ++stats_.captured;
  } else {
    ++stats_.replayed;
  }
  Must(cudaGraphLaunch(seen->graph.get(), stream_), "cannot launch a step's graph");
}

StepGraphs::Place StepGraphs::Find(const StepKey& key) {
  return std::find_if(recent_.begin(), recent_.end(),
                      [&](const Seen& seen) { return seen.key == key; });
}

// False where the device has no memory for the graph: then there will be no more of them. Other
// threads may go on calling CUDA meanwhile.
bool StepGraphs::Capture(absl::FunctionRef<void()> queue, UniqueGraphExec* graph) {
  Must(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cannot capture a step");
  queue();
  cudaGraph_t captured = nullptr;
  Must(cudaStreamEndCapture(stream_, &captured), "cannot capture a step");
  const UniqueGraph owner(captured);
  cudaGraphExec_t exec = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&exec, captured, 0);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is dealt with
    spdlog::warn("event=step_graphs_off graphs={} reason=\"no device memory for one more\"",
                 graphs_);
    Must(cudaStreamSynchronize(stream_), "the device failed");  // none may be running
    recent_.clear();
    graphs_ = graphs_max_ = 0;
    return false;
  }
  Must(error, "cannot make a step's graph");
  *graph = UniqueGraphExec(exec);
  return true;
}

// For one more graph.
void StepGraphs::MakeRoom() {
  for (Place seen = recent_.end(); graphs_ >= graphs_max_;) {
    if ((--seen)->graph.get() == nullptr) continue;
    Forget(seen);
    return;
  }
}

void StepGraphs::Forget(Place seen) {
  if (seen->graph.get() != nullptr) {
    // It may still be running.
    Must(cudaStreamSynchronize(stream_), "the device failed");
    --graphs_;
    ++stats_.evicted;
  }
  recent_.erase(seen);
}

}  // namespace lynx::cuda
