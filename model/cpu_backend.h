// Computes on the CPU, in the host's memory.
#pragma once

#include <memory>

#include "model/backend.h"
#include "model/cpu_kv_ops.h"
#include "model/cpu_transformer.h"

namespace lynx {

class CpuBackend final : public Backend {
 public:
  // Everything given outlives the backend. Thread: the pool's owner.
  CpuBackend(const ModelConfig& config, const Weights& weights, const Kernels& kernels,
             ThreadPool& pool)
      : config_(config),
        weights_(weights),
        kernels_(kernels),
        pool_(pool),
        kv_ops_(kernels, pool) {}

  std::unique_ptr<Transformer> NewTransformer(int64_t rows_max) override {
    return std::make_unique<CpuTransformer>(config_, weights_, kernels_, pool_, rows_max);
  }
  std::unique_ptr<RowSampler> NewRowSampler(Transformer& transformer) override {
    return NewHostRowSampler(transformer);
  }
  KvOps& kv_ops() override { return kv_ops_; }
  std::string arithmetic() const override { return {}; }
  KvAllocator& page_memory() override { return HostKvMemory(); }
  KvAllocator* wire_memory() override { return nullptr; }

 private:
  const ModelConfig& config_;
  const Weights& weights_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  CpuKvOps kv_ops_;
};

}  // namespace lynx
