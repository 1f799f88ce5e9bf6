// What the decode engine counts and times for /metrics. Written by the engine thread (Submit's part
// by any), read by any. Times are by the engine's clock alone.
#pragma once

#include "runtime/measures.h"

namespace lynx::decode {

struct EngineMeasures {
  // Requests: at Submit, and their ends.
  EventCount admitted;
  EventCount refused_full, refused_draining, refused_invalid;
  EventCount finished_stop, finished_length, cancelled;
  EventCount failed_deadline, failed_prefill, failed_internal;

  // Attempts at prefill servers. A failure counts once, under what its status says.
  EventCount attempts;
  EventCount attempts_unavailable, attempts_full, attempts_mismatched, attempts_other;
  EventCount failovers;  // attempts behind a failed one
  EventCount not_yet;    // answers to a prefill that was ready, for want of KV memory

  // From the request's submission on.
  Distribution queue_s{kRequestEdges_s};  // to the grant
  Distribution first_token_s{kFirstTokenEdges_s};
  Distribution second_provisional_s{kFirstTokenEdges_s};
  Distribution second_committed_s{kFirstTokenEdges_s};
  // Parts.
  Distribution ready_wait_s{kFirstTokenEdges_s};  // an attempt's start to the prefill's "ready"
  Distribution anchor_s{kFirstTokenEdges_s};      // grant to the Anchor's last block
  Distribution target_s{kFirstTokenEdges_s};      // grant to all blocks in, and restored
  Distribution prefill_s{kRequestEdges_s};        // grant to the first token
  Distribution decode_s{kRequestEdges_s};         // first token to the last

  // Passes of the model.
  Distribution pass_s{kTokenEdges_s};
  Distribution pass_rows{kRowEdges};
  EventCount rows_drafting, rows_verifying, rows_decoding;
  EventCount verifications;  // sequences verified

  // The transfer, from this side.
  EventCount gap_questions;   // lists of missing blocks that were asked for again
  EventCount missing_blocks;  // in these lists
  EventCount promotions;      // Residuals whose drafts were used up
};

}  // namespace lynx::decode
