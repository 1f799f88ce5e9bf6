#include "model/weights_hash.h"

#include <xxhash.h>

#include <cinttypes>
#include <cstdio>

#include "runtime/status.h"

namespace lynx {

namespace {

// Raise it when the meaning of a hashed field, or the order, changes.
constexpr uint32_t kHashVersion = 2;

}  // namespace

std::string WeightsHash::ToHex() const {
  char text[33];
  std::snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, high, low);
  return text;
}

void WeightsHasher::Free::operator()(void* state) const {
  XXH3_freeState(static_cast<XXH3_state_t*>(state));
}

WeightsHasher::WeightsHasher(const ModelConfig& c) : state_(XXH3_createState()) {
  LYNX_CHECK(state_ != nullptr);
  LYNX_CHECK(XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_.get())) == XXH_OK);
  AddBytes(&kHashVersion, sizeof(kHashVersion));
  const int64_t integers[] = {static_cast<int64_t>(c.architecture),
                              c.layers,
                              c.hidden,
                              c.intermediate,
                              c.q_heads,
                              c.kv_heads,
                              c.head_dim,
                              c.vocab,
                              c.qkv_bias,
                              static_cast<int64_t>(c.rope.scaling),
                              c.rope.original_context,
                              static_cast<int64_t>(c.rope.frequency_divisors.size())};
  AddBytes(integers, sizeof(integers));
  const double reals[] = {c.rms_eps,        c.rope.theta,     c.rope.factor,
                          c.rope.beta_fast, c.rope.beta_slow, c.rope.attention_factor};
  AddBytes(reals, sizeof(reals));
  Add(std::span<const float>(c.rope.frequency_divisors));
}

void WeightsHasher::Add(std::span<const float> values) {
  AddBytes(values.data(), values.size_bytes());
}

void WeightsHasher::Add(std::span<const bf16> values) {
  AddBytes(values.data(), values.size_bytes());
}

void WeightsHasher::AddBytes(const void* data, size_t size) {
  if (size == 0) return;
  LYNX_CHECK(XXH3_128bits_update(static_cast<XXH3_state_t*>(state_.get()), data, size) == XXH_OK);
}

WeightsHash WeightsHasher::Finish() const {
  XXH128_hash_t hash = XXH3_128bits_digest(static_cast<XXH3_state_t*>(state_.get()));
  return {hash.high64, hash.low64};
}

}  // namespace lynx
