// What every tier does alike with BF16 pages: one token at a time, bound by memory. Sizes and the
// packed form are declared in kv_split.h.
#pragma once

#include "kernels/kv_split.h"

namespace lynx {

// Kernels::write_kv.
void WriteKv(const WriteKvArgs& args);

}  // namespace lynx
