// The code P64 on the CPU, beside the table of kernels/ops.h: what its functions do is in
// kv_split.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv_split.h"

namespace lynx {

// Kernels::split_page.
SplitResult SplitPage(const SplitPageArgs& args);

// Kernels::tail_encode: the bytes written to args.tail, at most Bf16PageBytes.
size_t TailEncode(const TailEncodeArgs& args);

// Kernels::tail_decode. False, with the page's contents unspecified, if the Tail does not belong to
// the code: wrong length, a rank beyond its interval, or groups that no page has. Never reads
// beyond `tail`.
bool TailDecode(const TailDecodeArgs& args);

// The full codes q of a page: [K, V][kv_heads][head_dim][64]. Tokens before the page's first coded
// token have code 0.
void JoinCodes(KvShape shape, KvSplit split, const std::byte* anchor, const std::byte* residual,
               uint8_t* codes);

}  // namespace lynx
