// RowSampler on a GPU: logits stay there. A step's rows are one batch: inputs over in one copy,
// kernels, results back in one copy, one wait. Lists that do not fit into the memory that was taken
// at the start make it several batches, with the same results.
//
// Thread: the engine thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/cuda/cuda_transformer.h"
#include "model/cuda/sample_io.h"
#include "model/row_sampling.h"
#include "runtime/cuda/cuda_buffer.h"

namespace lynx::cuda {

struct DeviceSamplerOptions {
  // For the lists of a batch: tokens seen, biases, banned ids. At least what one request may need
  // is taken anyway.
  size_t list_bytes = size_t{1} << 20;
  int64_t top_max = 16384;  // most likely tokens that a batch gives, in all; likewise
};

class DeviceSampler final : public RowSampler {
 public:
  // Everything given outlives the sampler, which works on the transformer's stream.
  // RESOURCE_EXHAUSTED: no room.
  static absl::StatusOr<std::unique_ptr<DeviceSampler>> Create(const ModelConfig& config,
                                                               CudaTransformer& transformer,
                                                               DeviceSamplerOptions options = {});
  // Bytes of device memory that Create takes.
  static size_t BytesNeeded(const ModelConfig& config, int64_t rows_max,
                            DeviceSamplerOptions options = {});

  std::vector<std::vector<SampledToken>> Sample(std::span<const SampleChain> chains) override;
  std::vector<Logprobs> LogprobsOf(std::span<const int64_t> rows, std::span<const int32_t> ids,
                                   int64_t top) override;

  int64_t batches() const { return batches_; }  // so far; each was waited for once

 private:
  // Of a chain, on the device, for all its rows in the current batch.
  struct Lists {
    const SeenToken* seen = nullptr;
    const LogitBias* biases = nullptr;
    const int32_t* banned = nullptr;
    const int32_t* path = nullptr;
    int32_t seen_count = 0;
  };

  DeviceSampler(const ModelConfig& config, CudaTransformer& transformer,
                DeviceSamplerOptions options)
      : config_(config), transformer_(transformer), options_(options) {}

  void Begin(int64_t rows_left);
  size_t ListBytesOf(const SampleChain& chain) const;
  Lists AddLists(const SampleChain& chain);
  void AddSampledRow(const SampleChain& chain, int64_t i, const Lists& lists);
  void AddRow(int64_t row, const SampleRow& request, LogprobRow logprobs);
  // Computes the batch and waits. `sample`: its rows are sampled from, not just looked at.
  void Run(bool sample);
  void QueueSlice(int64_t begin, int64_t rows, bool sample);
  Logprobs LogprobsOfRow(int64_t i) const;
  void TakeSampled(std::vector<SampledToken>* tokens) const;

  const ModelConfig config_;
  CudaTransformer& transformer_;
  const DeviceSamplerOptions options_;  // with their least values
  SampleInputs inputs_;
  SampleOutputs outputs_;
  DeviceBuffer<std::byte> scratch_;  // of either kernel, for kLogitRowsMax rows

  // Of the current batch.
  int64_t top_ = 0;      // most likely tokens asked for
  int32_t top_max_ = 0;  // of one row
  bool any_logprobs_ = false;
  bool any_top_k_ = false, any_top_p_ = false, any_min_p_ = false;

  int64_t batches_ = 0;
};

}  // namespace lynx::cuda
