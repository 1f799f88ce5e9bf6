// Every kernel that requests may launch, launched once before there are any. A device loads a
// kernel's code when it is first launched and may wait for all of its own work to do so: in the
// middle of serving also for a transfer, whose peer in turn may wait for us.
#pragma once

#include <cstdint>

#include "model/backend.h"
#include "model/model_config.h"

namespace lynx {

// Runs passes of both kinds and of several sizes up to transformer.rows_max(), over pages in every
// form, samples from them in every way, and all of KvOps. Transformer and sampler are the
// backend's. Takes pages of the backend's memory, of which nothing else may be allocated, and gives
// them back; where it is too small for a few pages a layer, it does nothing.
//
// Thread: the engine thread.
void WarmUp(const ModelConfig& config, Transformer& transformer, RowSampler& sampler,
            Backend& backend);

}  // namespace lynx
