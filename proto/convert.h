// Between messages and the model's own types, for both engines.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "model/kv_format.h"
#include "model/sampling.h"
#include "model/sampling_logprobs.h"
#include "proto/lynx.pb.h"
#include "runtime/status.h"
#include "transfer/block.h"

namespace lynx {

inline std::span<const int32_t> AsSpan(const google::protobuf::RepeatedField<int32_t>& field) {
  return {field.data(), static_cast<size_t>(field.size())};
}

// INVALID_ARGUMENT that names the field that is out of range.
absl::StatusOr<SamplingParams> FromProto(const v1::Sampling& sampling, int64_t vocab);

// The token as clients are told of it.
v1::TokenInfo MakeTokenInfo(int32_t id, const std::optional<Logprobs>& logprobs);

// INVALID_ARGUMENT: an id outside [0, vocab). `what` names the list in the message.
absl::Status CheckTokenIds(std::span<const int32_t> ids, int64_t vocab, std::string_view what);

// INVALID_ARGUMENT unless it has 16 bytes.
absl::StatusOr<TransferId> TransferIdFromBytes(const std::string& bytes);
std::string ToBytes(const TransferId& id);

// Blocks that one Missing may name.
inline constexpr int kMissingBlocksMax = 4096;

// The wire's format of a geometry and back; INVALID_ARGUMENT.
absl::StatusOr<KvGeometry> FromProto(const v1::KvFormat& format, const ModelConfig& config);
v1::KvFormat ToProto(const KvGeometry& geometry);

}  // namespace lynx
