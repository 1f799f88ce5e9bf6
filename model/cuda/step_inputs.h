// What a pass tells the device beside weights and pages: tokens, angles, places, work lists. Built
// in pinned memory and brought over in one copy.
//
// Thread: the engine thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/prefill_attention.h"
#include "model/model_config.h"
#include "model/rope.h"
#include "model/transformer.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {

// Device pointers, valid for the work that is queued between two Builds.
struct StepInputs {
  int64_t rows = 0;
  const int32_t* tokens = nullptr;         // [rows]
  const float* cos_sin = nullptr;          // [rows, 2, head_dim / 2]
  const int32_t* token_in_page = nullptr;  // [rows]
  std::byte* const* kv_pages = nullptr;    // [layers, rows]: the BF16 page that holds the row
  // kDecode
  const AttentionSequence* sequences = nullptr;
  const AttentionTile* tiles = nullptr;
  const AttentionItem* items = nullptr;
  int64_t tile_count = 0, item_count = 0;
  // kPrefill
  const PrefillSequence* prefill_sequences = nullptr;
  int64_t sequence_count = 0, max_rows = 0;
};

class StepInputBuilder {
 public:
  StepInputBuilder(const ModelConfig& config, cudaStream_t stream)
      : config_(config), rope_(config), stream_(stream) {}

  // Grows its memory if the pass is the largest so far.
  StepInputs Build(PassKind kind, std::span<const PassRows> pass);

 private:
  // Where an array lies in both buffers.
  template <typename T>
  struct Array {
    size_t offset = 0;
    size_t count = 0;
  };
  template <typename T>
  Array<T> Reserve(size_t count);
  template <typename T>
  T* Host(Array<T> array) const {
    return reinterpret_cast<T*>(host_.data() + array.offset);
  }
  template <typename T>
  T* Device(Array<T> array) const {
    return reinterpret_cast<T*>(device_.data() + array.offset);
  }
  void EnsureRoom();
  void FillRows(std::span<const PassRows> pass, int32_t* tokens, float* cos_sin,
                int32_t* token_in_page, std::byte** kv_pages) const;
  void FillPages(const PassRows& part, int64_t pages, PageRef* refs, const std::byte** sinks) const;

  const ModelConfig& config_;
  const Rope rope_;
  const cudaStream_t stream_;
  size_t bytes_ = 0;  // reserved for the pass
  PinnedBuffer<std::byte> host_;
  DeviceBuffer<std::byte> device_;
  UniqueEvent copied_;
  AttentionPlan plan_;
};

}  // namespace lynx::cuda
