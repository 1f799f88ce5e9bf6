#include "tests/reference/naive_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "model/safetensors.h"

namespace lynx::reference {
namespace {

constexpr int64_t kPage = 64;       // positions between two looks at the running maximum
constexpr int64_t kSinks = 4;       // of the given positions: no code
constexpr int64_t kSplit = 8 * 64;  // positions after which the maximum starts afresh

double RoundBf16(double x) {
  if (x == 0) return x;
  int exponent;
  std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(x, 8 - exponent)), exponent - 8);
}

double Round(double x, Rounding rounding) { return rounding == Rounding::kBf16 ? RoundBf16(x) : x; }

std::vector<double> Round(std::vector<double> x, Rounding rounding) {
  for (double& v : x) v = Round(v, rounding);
  return x;
}

std::vector<double> Widen(const ModelTensor& tensor) {
  LYNX_CHECK(tensor.type == GgmlType::kBF16);
  std::vector<double> out(tensor.data.size() / 2);
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, tensor.data.data() + 2 * i, 2);
    const uint32_t bits = uint32_t{half} << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    out[i] = value;
  }
  return out;
}

double YarnCorrectionDim(double rotations, double dim, const RopeConfig& rope) {
  return dim * std::log(rope.original_context / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

double YarnFrequency(double frequency, int64_t i, int64_t dim, const RopeConfig& rope) {
  const double low = std::max(std::floor(YarnCorrectionDim(rope.beta_fast, dim, rope)), 0.0);
  double high = std::min(std::ceil(YarnCorrectionDim(rope.beta_slow, dim, rope)), dim - 1.0);
  if (low == high) high += 0.001;
  const double extrapolated = 1 - std::min(std::max((i - low) / (high - low), 0.0), 1.0);
  return frequency / rope.factor * (1 - extrapolated) + frequency * extrapolated;
}

}  // namespace

NaiveRope MakeNaiveRope(const RopeConfig& rope, int64_t head_dim) {
  NaiveRope out;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    double f = 1 / std::pow(rope.theta, 2.0 * i / head_dim);
    if (!rope.frequency_divisors.empty()) f /= rope.frequency_divisors[i];
    if (rope.scaling == RopeScaling::kLinear) f /= rope.factor;
    if (rope.scaling == RopeScaling::kYarn) f = YarnFrequency(f, i, head_dim, rope);
    out.frequencies.push_back(f);
  }
  if (rope.scaling == RopeScaling::kYarn) {
    out.magnitude =
        rope.attention_factor != 0 ? rope.attention_factor : 0.1 * std::log(rope.factor) + 1;
  }
  return out;
}

NaiveModel::NaiveModel(const std::string& hf_folder, const ModelConfig& config)
    : config_(config), rope_(MakeNaiveRope(config.rope, config.head_dim)) {
  auto folder = SafetensorsFolder::Open(hf_folder);
  LYNX_CHECK(folder.ok());
  for (const auto& [name, tensor] : folder->tensors()) tensors_[name] = Widen(tensor);
}

const NaiveModel::Row& NaiveModel::Tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  LYNX_CHECK(found != tensors_.end());
  return found->second;
}

NaiveModel::Row NaiveModel::Linear(const std::string& name, const Row& x) const {
  const Row& w = Tensor(name + ".weight");
  Row y(w.size() / x.size(), 0.0);
  for (size_t o = 0; o < y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) y[o] += w[o * x.size() + i] * x[i];
  }
  const auto bias = tensors_.find(name + ".bias");
  if (bias != tensors_.end()) {
    for (size_t o = 0; o < y.size(); ++o) y[o] += bias->second[o];
  }
  return y;
}

NaiveModel::Row NaiveModel::Norm(const std::string& name, const Row& x, Rounding rounding) const {
  const Row& weight = Tensor(name + ".weight");
  double squares = 0;
  for (double v : x) squares += v * v;
  const double scale = 1 / std::sqrt(squares / x.size() + config_.rms_eps);
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
  return Round(std::move(y), rounding);
}

void NaiveModel::Rotate(Row& heads, int64_t position) const {
  const int64_t half = config_.head_dim / 2;
  for (size_t head = 0; head < heads.size(); head += config_.head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = position * rope_.frequencies[i];
      const double cos = std::cos(angle) * rope_.magnitude;
      const double sin = std::sin(angle) * rope_.magnitude;
      double& a = heads[head + i];
      double& b = heads[head + half + i];
      const double rotated = a * cos - b * sin;
      b = b * cos + a * sin;
      a = rotated;
    }
  }
}

// The engine rounds a weight relative to the running maximum of its split after its page; that
// maximum is repeated here. Coded positions are read without any rounding; the four before them,
// which no code replaces, are a page of their own.
NaiveModel::Row NaiveModel::Attend(const Row& q, const Kv& kv, int64_t position, int64_t given,
                                   Rounding rounding) const {
  const int64_t d = config_.head_dim;
  const int64_t count = position + 1;
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  const auto coded = [&](int64_t t) { return t >= kSinks && t < given; };
  Row out(q.size(), 0.0);
  for (int64_t head = 0; head < config_.q_heads; ++head) {
    const int64_t kv_at = head / (config_.q_heads / config_.kv_heads) * d;
    Row scores(count, 0.0), weights(count);
    for (int64_t t = 0; t < count; ++t) {
      const Rounding r = coded(t) ? Rounding::kNone : rounding;
      for (int64_t c = 0; c < d; ++c) {
        scores[t] += Round(q[head * d + c] * scale, r) * kv.keys[t][kv_at + c];
      }
    }
    const double max = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (int64_t t = 0; t < count; ++t) {
      const auto split = scores.begin() + t / kSplit * kSplit;
      const int64_t page_end = t < kSinks && given > 0 ? kSinks : (t / kPage + 1) * kPage;
      const double running = *std::max_element(split, scores.begin() + std::min(count, page_end));
      const Rounding r = coded(t) ? Rounding::kNone : rounding;
      weights[t] = Round(std::exp(scores[t] - running), r) * std::exp(running - max);
      sum += weights[t];
    }
    for (int64_t t = 0; t < count; ++t) {
      for (int64_t c = 0; c < d; ++c) out[head * d + c] += weights[t] * kv.values[t][kv_at + c];
    }
    for (int64_t c = 0; c < d; ++c) out[head * d + c] /= sum;
  }
  return Round(std::move(out), rounding);
}

NaiveModel::Rows NaiveModel::Logits(std::span<const int32_t> tokens, Rounding rounding,
                                    const GivenKv* given) const {
  const int64_t first = given == nullptr ? 0 : given->tokens;
  const int64_t kv_width = config_.kv_heads * config_.head_dim;
  const Row& embedding = Tensor("model.embed_tokens.weight");
  Rows hidden;
  for (size_t t = first; t < tokens.size(); ++t) {
    const auto row = embedding.begin() + tokens[t] * config_.hidden;
    hidden.emplace_back(row, row + config_.hidden);
  }
  const auto add = [](Row& x, const Row& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  };
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    const std::string p = "model.layers." + std::to_string(layer) + ".";
    Kv kv;
    for (int64_t t = 0; t < first; ++t) {
      const auto cut = [&](const Row& all) {
        return Row(all.begin() + t * kv_width, all.begin() + (t + 1) * kv_width);
      };
      kv.keys.push_back(cut(given->keys[layer]));
      kv.values.push_back(cut(given->values[layer]));
    }
    for (size_t i = 0; i < hidden.size(); ++i) {
      const int64_t position = first + static_cast<int64_t>(i);
      const Row x = Norm(p + "input_layernorm", hidden[i], rounding);
      Row q = Linear(p + "self_attn.q_proj", x);
      Row k = Linear(p + "self_attn.k_proj", x);
      Rotate(q, position);
      Rotate(k, position);
      kv.keys.push_back(Round(std::move(k), rounding));
      kv.values.push_back(Round(Linear(p + "self_attn.v_proj", x), rounding));
      add(hidden[i], Linear(p + "self_attn.o_proj", Attend(q, kv, position, first, rounding)));
      const Row y = Norm(p + "post_attention_layernorm", hidden[i], rounding);
      Row gate = Linear(p + "mlp.gate_proj", y);
      const Row up = Linear(p + "mlp.up_proj", y);
      for (size_t j = 0; j < gate.size(); ++j) gate[j] *= up[j] / (1 + std::exp(-gate[j]));
      add(hidden[i], Linear(p + "mlp.down_proj", Round(std::move(gate), rounding)));
    }
  }
  const std::string head = config_.tied_embeddings ? "model.embed_tokens" : "lm_head";
  for (Row& x : hidden) x = Linear(head, Norm("model.norm", x, rounding));
  return hidden;
}

}  // namespace lynx::reference
