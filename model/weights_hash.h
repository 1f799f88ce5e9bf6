// The hash that stands for a model's numbers in an identity: equal hashes compute the same logits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "model/model_config.h"
#include "runtime/bf16.h"

namespace lynx {

struct WeightsHash {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const WeightsHash&, const WeightsHash&) = default;
  std::string ToHex() const;  // 32 digits
};

// XXH3-128 over the config fields that computing uses (not the name, context length or end-of-text
// ids) and the tensors as they are computed with, in the order of Weights' fields. The file's
// format leaves no trace.
class WeightsHasher {
 public:
  explicit WeightsHasher(const ModelConfig& config);
  void Add(std::span<const float> values);
  void Add(std::span<const bf16> values);
  WeightsHash Finish() const;

 private:
  struct Free {
    void operator()(void* state) const;
  };
  void AddBytes(const void* data, size_t size);

  std::unique_ptr<void, Free> state_;  // XXH3_state_t, which needs the library's own allocation
};

}  // namespace lynx
