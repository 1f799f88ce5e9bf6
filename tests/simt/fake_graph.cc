// Graphs, made by capturing streams. A launch of a graph is one operation of its stream, within
// which nodes that do not depend on each other run in a random order.
#include <algorithm>

#include "fake_world.h"

namespace simt::fake {
namespace {

// One launch under way.
struct Launch {
  std::vector<Node> nodes;  // with the state of this launch
  std::vector<bool> done;
  size_t left = 0;
  uint64_t random = 0;

  bool Ready(size_t i) const {
    const auto& after = nodes[i].after;
    return !done[i] && std::all_of(after.begin(), after.end(), [&](size_t j) { return done[j]; });
  }

  // Runs what can be run.
  Step Go() {
    bool moved = true;
    while (left > 0 && moved) {
      moved = false;
      const size_t first = random++ * 0x9e3779b9u % nodes.size();
      for (size_t k = 0; k < nodes.size(); ++k) {
        const size_t i = (first + k) % nodes.size();
        if (!Ready(i) || nodes[i].work() == Step::kAgain) continue;
        done[i] = true;
        --left;
        moved = true;
        break;
      }
    }
    return left == 0 ? Step::kDone : Step::kAgain;
  }
};

// Every node leads to the origin's last ones.
bool AllJoined(const Capture& c) {
  std::vector<bool> joined(c.nodes.size());
  for (size_t node : c.origin->capture_tail) joined[node] = true;
  for (size_t i = c.nodes.size(); i-- > 0;) {
    if (!joined[i]) return false;
    for (size_t earlier : c.nodes[i].after) joined[earlier] = true;
  }
  return true;
}

void Leave(World& w, const std::shared_ptr<Capture>& capture) {
  for (auto& [handle, stream] : w.streams) {
    if (stream->capture != capture) continue;
    stream->capture = nullptr;
    stream->capture_tail.clear();
  }
  w.captures.erase(capture);
}

cudaStreamCaptureStatus StatusOf(const CUstream_st& s) {
  if (s.capture == nullptr) return cudaStreamCaptureStatusNone;
  return s.capture->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
}

}  // namespace

void AddNode(CUstream_st& s, std::function<Step()> work) {
  if (work == nullptr) return;
  Capture& c = *s.capture;
  c.nodes.push_back({std::move(work), s.capture_tail});
  s.capture_tail = {c.nodes.size() - 1};
}

cudaError_t Invalidate(CUstream_st& s) {
  s.capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t InvalidateAll(World& w) {
  for (const auto& capture : w.captures) capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

}  // namespace simt::fake

using namespace simt;
using namespace simt::fake;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return Call([&](World& w, Lock&) {
    auto s = FindStream(w, handle);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (s == w.legacy) return cudaErrorStreamCaptureUnsupported;
    if (s->capture != nullptr) return cudaErrorIllegalState;
    s->capture = std::make_shared<Capture>();
    s->capture->mode = mode;
    s->capture->origin = s.get();
    if (mode == cudaStreamCaptureModeGlobal) w.captures.insert(s->capture);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return Call([&](World& w, Lock&) {
    *graph = nullptr;
    auto s = FindStream(w, handle);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    const auto capture = s->capture;
    if (capture == nullptr) return cudaErrorIllegalState;
    if (capture->origin != s.get()) return cudaErrorStreamCaptureUnmatched;
    const bool joined = AllJoined(*capture);
    Leave(w, capture);
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (!joined) return cudaErrorStreamCaptureUnjoined;
    *graph = new CUgraph_st{capture->nodes};
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return Call([&](World& w, Lock&) {
    auto s = FindStream(w, handle);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    *status = StatusOf(*s);
    return cudaSuccess;
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
  std::swap(current, *mode);
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (graph == nullptr || count == nullptr) return Report(cudaErrorInvalidValue);
  if (nodes != nullptr) return Report(cudaErrorNotSupported);  // only their number
  *count = graph->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t graph, unsigned long long) {
  return Call([&](World&, Lock&) {
    if (out == nullptr || graph == nullptr) return cudaErrorInvalidValue;
    *out = new CUgraphExec_st{graph->nodes};
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return Call([](World&, Lock&) { return cudaSuccess; });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
  return Call([&](World& w, Lock& lock) {
    auto s = FindStream(w, handle);
    if (exec == nullptr || s == nullptr) return cudaErrorInvalidResourceHandle;
    if (s->capture != nullptr) return Invalidate(*s);
    auto launch = std::make_shared<Launch>();
    launch->nodes = exec->nodes;
    launch->done.resize(launch->nodes.size());
    launch->left = launch->nodes.size();
    launch->random = NextRandom(w);
    Add(w, lock, *s, {[launch] { return launch->Go(); }, nullptr, nullptr});
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

}  // extern "C"
