// What the prefill engine counts and times for /metrics. Written by the engine thread (Submit's
// part by any), read by any. Times are by the engine's clock alone.
#pragma once

#include "runtime/measures.h"

namespace lynx::prefill {

struct EngineMeasures {
  // Runs: at Submit, and their ends.
  EventCount admitted;
  EventCount refused_full, refused_draining, refused_invalid;
  EventCount finished, cancelled;
  EventCount failed_deadline, failed_unavailable, failed_internal;
  EventCount not_yet;  // decode servers that had no KV memory when a run was ready

  Distribution queue_s{kRequestEdges_s};    // submission to the grant
  Distribution compute_s{kRequestEdges_s};  // grant to the first token
  Distribution kept_s{kRequestEdges_s};     // first token to the end: blocks are kept for the peer

  // Passes of the model.
  Distribution pass_s{kTokenEdges_s};
  Distribution pass_rows{kRowEdges};

  EventCount raw_pages;       // that could not be coded
  EventCount missing_blocks;  // that decode servers asked for again
};

}  // namespace lynx::prefill
