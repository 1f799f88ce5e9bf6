// One request at the decode server, from admission to its last token.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "decode/incoming_kv.h"
#include "decode/sequence.h"
#include "model/kv_sequence.h"
#include "model/sampling.h"
#include "proto/convert.h"
#include "proto/lynx.pb.h"
#include "runtime/clock.h"
#include "runtime/request_trace.h"
#include "transfer/block.h"

namespace lynx::decode {

enum class RequestId : uint64_t {};
// One try at one prefill server.
enum class AttemptId : uint64_t {};

struct Request {
  Request(v1::GenerateRequest p, SamplingParams s, SequenceLimits limits)
      : proto(std::move(p)),
        sampling(std::move(s)),
        ending_ids(limits.ending_ids),
        sequence(std::move(limits)),
        history(AsSpan(proto.prompt())) {}

  RequestId id{};
  bool removed = false;  // ended in this step; erased at its end
  const v1::GenerateRequest proto;
  const SamplingParams sampling;
  const std::vector<int32_t> ending_ids;
  Nanos submitted{0};
  Nanos first_token_at{0};
  Nanos deadline{0};
  TracePtr trace;  // null: not traced

  Sequence sequence;
  TokenCounts history;  // with the drafts' own path behind the committed tokens
  v1::GenerateStats stats;

  // The current attempt.
  int next_address = 0;  // of proto.prefill_addresses
  AttemptId attempt{};
  bool attempt_open = false;
  TransferKey key;
  std::optional<SessionId> session;
  bool granted = false;
  Nanos attempt_began{0};
  Nanos granted_at{0};
  bool ready_timed = false, anchor_timed = false, target_timed = false;  // for the measures
  bool all_sent = false;  // the prefill has offered every block
  bool promote_sent = false;
  Nanos last_arrival{0};             // of a block, or of our last question for missing ones
  int64_t next_prompt_logprob = 1;   // position that this attempt tells next
  int64_t prompt_logprobs_sent = 0;  // last position that the client was told, by whichever attempt
  int raw_messages = 0;              // lists of raw pages in raw_waiting: each wants a grant
  std::vector<BlockId> raw_waiting;  // raw pages that there was no room for yet

  std::unique_ptr<KvSequence> kv;
  std::unique_ptr<IncomingKv> incoming;

  int64_t prompt_tokens() const { return proto.prompt_size(); }
  // Only the first token is wanted: no KV moves.
  bool first_token_only() const { return proto.max_tokens() == 1; }
  // Absolute position of the generated token `index`.
  int64_t PositionOf(int64_t index) const { return prompt_tokens() + index; }
};

}  // namespace lynx::decode
