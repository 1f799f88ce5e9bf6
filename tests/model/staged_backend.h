// A backend on the CPU that says of its pages what a device does: sockets cannot reach them. So
// what is sent and received goes through memory of its own.
#pragma once

#include <memory>
#include <string>

#include "model/cpu_backend.h"

namespace lynx {

class StagedBackend final : public Backend {
 public:
  StagedBackend(const ModelConfig& config, const Weights& weights, const Kernels& kernels,
                ThreadPool& pool)
      : cpu_(config, weights, kernels, pool) {}

  std::unique_ptr<Transformer> NewTransformer(int64_t rows_max) override {
    return cpu_.NewTransformer(rows_max);
  }
  std::unique_ptr<RowSampler> NewRowSampler(Transformer& transformer) override {
    return cpu_.NewRowSampler(transformer);
  }
  KvOps& kv_ops() override { return cpu_.kv_ops(); }
  std::string arithmetic() const override { return cpu_.arithmetic(); }
  KvAllocator& page_memory() override { return cpu_.page_memory(); }
  KvAllocator* wire_memory() override { return &HostKvMemory(); }

 private:
  CpuBackend cpu_;
};

}  // namespace lynx
