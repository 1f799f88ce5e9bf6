#include "model/sampling_params.h"

namespace lynx {
namespace {

// NaN is in no range.
absl::Status CheckRange(const char* field, double value, double min, double max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, ", must be from ", min, " to ", max));
}

absl::Status CheckBias(const std::vector<std::pair<int32_t, double>>& bias, int64_t vocab) {
  int64_t previous = -1;
  for (const auto& [id, addend] : bias) {
    if (id < 0 || id >= vocab) {
      return absl::InvalidArgumentError(absl::StrCat(
          "logit_bias: token id ", id, " is not in the vocabulary of ", vocab, " tokens"));
    }
    if (id <= previous) {
      return absl::InvalidArgumentError(
          absl::StrCat("logit_bias: token id ", id, " is given twice or out of order"));
    }
    previous = id;
    RETURN_IF_ERROR(CheckRange("logit_bias", addend, -100.0, 100.0));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SamplingParams::Validate(int64_t vocab) const {
  if (vocab <= 0 || vocab > kMaxSamplingVocab) {
    return absl::InvalidArgumentError(absl::StrCat("a vocabulary of ", vocab,
                                                   " tokens cannot be sampled from; the limit is ",
                                                   kMaxSamplingVocab));
  }
  RETURN_IF_ERROR(CheckRange("temperature", temperature, 0.0, 1e6));
  RETURN_IF_ERROR(CheckRange("top_p", top_p, 0.0, 1.0));
  RETURN_IF_ERROR(CheckRange("min_p", min_p, 0.0, 1.0));
  RETURN_IF_ERROR(CheckRange("repetition_penalty", repetition_penalty, 1e-3, 1e3));
  RETURN_IF_ERROR(CheckRange("presence_penalty", presence_penalty, -2.0, 2.0));
  RETURN_IF_ERROR(CheckRange("frequency_penalty", frequency_penalty, -2.0, 2.0));
  if (top_k < 0) {
    return absl::InvalidArgumentError(absl::StrCat("top_k is ", top_k, ", must be at least 0"));
  }
  return CheckBias(logit_bias, vocab);
}

}  // namespace lynx
