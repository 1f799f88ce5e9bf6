// A prefilled prompt's KV as a target holds it, in one process: what splitting, sending and
// receiving amount to.
#pragma once

#include <cstdint>

#include "model/kv_ops.h"
#include "model/kv_sequence.h"

namespace lynx {

// Copies the first `tokens` positions of `prefilled` (all BF16) into `to`, which was made for
// tokens / 64 code pages of the same shape: full pages are coded, or copied if the target is BF16
// in the end or the page cannot be coded; the rest is copied. All of it is done at return. The pool
// of `to` has room for pages that cannot be coded.
void FillTarget(KvSequence& prefilled, int64_t tokens, KvOps& ops, KvSequence* to);

}  // namespace lynx
