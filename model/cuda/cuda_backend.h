// A GPU as a backend.
#pragma once

#include <memory>
#include <string>

#include "model/backend.h"
#include "model/cuda/arena.h"
#include "model/cuda/cuda_kv_ops.h"
#include "model/cuda/device_weights.h"
#include "model/model_config.h"
#include "model/weights.h"
#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {

struct CudaBackendOptions {
  int device = 0;                     // as CUDA numbers them
  size_t kv_bytes = size_t{1} << 30;  // of device memory, for KV pages
  // Of pinned host memory, for what is sent and received; 0: none, a data plane reaches the pages.
  size_t wire_bytes = size_t{1} << 30;
  // Of device memory: what is received where pages are is put here while they are restored. Less
  // than what one step restores: in more, smaller launches. Raised to one page.
  size_t aside_bytes = size_t{16} << 20;
  size_t channel_bytes = 0;  // of device memory, left free for the data plane
  int64_t rows_max = 512;    // of the passes that will be asked for
  int64_t graphs_max = 32;   // of decode steps (StepGraphs); 0: none
  bool warm_up = false;      // by NewRowSampler (model/warm_up.h)
  LinearPolicy linear;
};

class CudaBackend final : public Backend {
 public:
  // Takes all memory that serving needs and copies config and weights, which `feed` puts: seconds.
  // FAILED_PRECONDITION: no driver, no such device, or one that is too old; RESOURCE_EXHAUSTED: too
  // little memory, with what is needed and what to do; INVALID_ARGUMENT: a model that the GPU path
  // does not run. Thread: any; from then on, the engine thread.
  static absl::StatusOr<std::unique_ptr<CudaBackend>> Create(const ModelConfig& config,
                                                             FeedWeights feed,
                                                             const CudaBackendOptions& options);
  // Of weights that are loaded already.
  static absl::StatusOr<std::unique_ptr<CudaBackend>> Create(const ModelConfig& config,
                                                             const Weights& weights,
                                                             const CudaBackendOptions& options);

  std::unique_ptr<Transformer> NewTransformer(int64_t rows_max) override;
  std::unique_ptr<RowSampler> NewRowSampler(Transformer& transformer) override;
  KvOps& kv_ops() override { return *kv_ops_; }
  std::string arithmetic() const override { return arithmetic_; }
  KvAllocator& page_memory() override { return *pages_; }
  KvAllocator* wire_memory() override { return wire_.get(); }

 private:
  CudaBackend(const ModelConfig& config, const CudaBackendOptions& options)
      : config_(config), options_(options) {}

  const ModelConfig config_;
  const CudaBackendOptions options_;
  UniqueStream stream_;
  std::unique_ptr<DeviceWeights> weights_;
  std::unique_ptr<Arena> pages_;
  std::unique_ptr<Arena> wire_;
  std::unique_ptr<CudaKvOps> kv_ops_;
  std::string arithmetic_;
};

}  // namespace lynx::cuda
