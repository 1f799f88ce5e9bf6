// A model's weights in device memory.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/linear.h"
#include "model/model_config.h"
#include "model/weights_out.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/status.h"

namespace lynx::cuda {

struct DeviceLayer {
  DeviceBuffer<float> attention_norm;  // [hidden]
  Linear qkv;                          // with its bias
  Linear attention_output;
  DeviceBuffer<float> ffn_norm;  // [hidden]
  Linear gate_up;
  Linear down;
};

// Immutable after Upload but for its plans: of one engine thread.
class DeviceWeights {
 public:
  // Copies what `feed` puts, chunk by chunk, and chooses the plan of each matrix shape: takes
  // seconds, and two pinned chunks of the host's memory. `feed` may put it from another thread.
  // RESOURCE_EXHAUSTED: the weights do not fit; INVALID_ARGUMENT, FAILED_PRECONDITION: what
  // LinearPlans says; or feed's error.
  static absl::StatusOr<std::unique_ptr<DeviceWeights>> Upload(const ModelConfig& config,
                                                               FeedWeights feed,
                                                               const LinearPolicy& policy,
                                                               cudaStream_t stream);
  // Bytes of device memory that Upload takes.
  static size_t BytesNeeded(const ModelConfig& config, const LinearPolicy& policy);

  const bf16* token_embedding() const { return embedding_; }  // [vocab, hidden]
  const DeviceLayer& layer(int i) const { return layers_[i]; }
  const float* final_norm() const { return final_norm_.data(); }
  const Linear& lm_head() const { return lm_head_; }
  // Of the algorithms that products run on.
  std::string Identity() const { return plans_->Identity(); }

 private:
  DeviceWeights() = default;

  std::unique_ptr<LinearPlans> plans_;
  std::vector<DeviceBuffer<bf16>> matrices_;
  std::vector<DeviceBuffer<float>> biases_;
  std::vector<DeviceLayer> layers_;
  DeviceBuffer<float> final_norm_;
  const bf16* embedding_ = nullptr;
  Linear lm_head_;

  friend class WeightsUploader;
};

}  // namespace lynx::cuda
