#include "proto/convert.h"

#include <algorithm>
#include <cstring>

namespace lynx {

absl::StatusOr<SamplingParams> FromProto(const v1::Sampling& sampling, int64_t vocab) {
  SamplingParams params;
  params.temperature = sampling.temperature();
  params.top_p = sampling.top_p();
  params.top_k = sampling.top_k();
  params.min_p = sampling.min_p();
  params.repetition_penalty = sampling.repetition_penalty();
  params.presence_penalty = sampling.presence_penalty();
  params.frequency_penalty = sampling.frequency_penalty();
  params.seed = sampling.seed();
  params.logit_bias.assign(sampling.logit_bias().begin(), sampling.logit_bias().end());
  std::sort(params.logit_bias.begin(), params.logit_bias.end());
  RETURN_IF_ERROR(params.Validate(vocab));
  return params;
}

v1::TokenInfo MakeTokenInfo(int32_t id, const std::optional<Logprobs>& logprobs) {
  v1::TokenInfo info;
  info.set_id(id);
  if (!logprobs) return info;
  info.set_logprob(logprobs->logprob);
  for (const TokenLogprob& t : logprobs->top) {
    v1::TopLogprob* top = info.add_top();
    top->set_id(t.id);
    top->set_logprob(t.logprob);
  }
  return info;
}

absl::Status CheckTokenIds(std::span<const int32_t> ids, int64_t vocab, std::string_view what) {
  for (int32_t id : ids) {
    if (id < 0 || id >= vocab) {
      return absl::InvalidArgumentError(
          absl::StrCat(ToAbsl(what), " holds token id ", id, "; the vocabulary has ", vocab));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TransferId> TransferIdFromBytes(const std::string& bytes) {
  TransferId id;
  if (bytes.size() != id.bytes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a transfer id has 16 bytes, not ", bytes.size()));
  }
  std::memcpy(id.bytes.data(), bytes.data(), bytes.size());
  return id;
}

std::string ToBytes(const TransferId& id) {
  return std::string(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size());
}

absl::StatusOr<KvGeometry> FromProto(const v1::KvFormat& format, const ModelConfig& config) {
  ASSIGN_OR_RETURN(KvTarget target, ParseKvTarget(format.target()));
  return MakeKvGeometry(config, target, {format.k_bits(), format.v_bits()});
}

v1::KvFormat ToProto(const KvGeometry& geometry) {
  v1::KvFormat format;
  format.set_target(std::string(KvTargetName(geometry.target)));
  format.set_k_bits(geometry.split.k_bits);
  format.set_v_bits(geometry.split.v_bits);
  return format;
}

}  // namespace lynx
