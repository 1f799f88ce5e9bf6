// What a pass tells the device beside weights and pages: tokens, angles, places, work lists. Built
// in pinned memory and brought over in one copy, to the same place for passes of the same shape.
//
// Thread: the engine thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/prefill_attention.h"
#include "kernels/cuda/rope.h"
#include "model/cuda/page_tables.h"
#include "model/cuda/pass_limits.h"
#include "model/model_config.h"
#include "model/rope.h"
#include "model/transformer.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {

// Device pointers, valid for the work that is queued between two Builds. For passes of kDecode they
// follow from rows, sequence_count, tile_count and item_count.
struct StepInputs {
  int64_t rows = 0;
  int64_t sequence_count = 0;
  const int32_t* tokens = nullptr;   // [rows]
  const float* cos_sin = nullptr;    // [rows, 2, head_dim / 2]
  const RowPlace* places = nullptr;  // [rows]
  // kDecode
  const AttentionSequence* sequences = nullptr;  // [sequence_count]
  const AttentionTile* tiles = nullptr;          // [tile_count], of all parts
  const AttentionItem* items = nullptr;          // [item_count], likewise
  int64_t tile_count = 0, item_count = 0;
  std::span<const AttentionPart> parts{};  // the launches of attention; on the host
  // kPrefill
  const PrefillSequence* prefill_sequences = nullptr;  // [sequence_count]
  int64_t max_rows = 0;
};

class StepInputBuilder {
 public:
  // Takes memory for the largest pass and its page tables. `config` outlives the builder.
  // RESOURCE_EXHAUSTED: there is too little.
  static absl::StatusOr<std::unique_ptr<StepInputBuilder>> Create(const ModelConfig& config,
                                                                  const PassLimits& limits,
                                                                  cudaStream_t stream);
  // Bytes of device memory that Create takes, and as many of pinned host memory.
  static size_t BytesNeeded(const ModelConfig& config, const PassLimits& limits);

  // Queues the copies of a pass within the limits.
  StepInputs Build(PassKind kind, std::span<const PassRows> pass);

 private:
  // Where the arrays of a pass lie in both buffers.
  struct Layout;

  StepInputBuilder(const ModelConfig& config, const PassLimits& limits, cudaStream_t stream)
      : config_(config), limits_(limits), rope_(config), stream_(stream) {}
  void UpdateTables(std::span<const PassRows> pass);
  void Plan(std::span<const PassRows> pass);
  void FillRows(std::span<const PassRows> pass, const Layout& layout) const;
  void FillSequences(std::span<const PassRows> pass, const Layout& layout) const;
  void FillPrefillSequences(std::span<const PassRows> pass, const Layout& layout) const;
  void FillPlan(const Layout& layout) const;
  void Copy(size_t bytes);

  const ModelConfig& config_;
  const PassLimits limits_;
  const Rope rope_;
  const cudaStream_t stream_;
  std::unique_ptr<PageTables> tables_;
  PinnedBuffer<std::byte> host_;
  DeviceBuffer<std::byte> device_;
  UniqueEvent copied_;                        // the host's buffers may be written again
  std::vector<const KvSequence*> sequences_;  // of the pass
  std::vector<AttentionRows> shapes_;         // likewise
  AttentionPlan plan_;
  std::vector<AttentionPart> parts_;
};

}  // namespace lynx::cuda
