// Where an engine computes, and where its KV lies: the CPU, or a GPU.
//
// Thread: the engine thread. A backend outlives all that it made, and all memory of its allocators.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/kv_ops.h"
#include "model/kv_pool.h"
#include "model/row_sampling.h"
#include "model/transformer.h"

namespace lynx {

class Backend {
 public:
  virtual ~Backend() = default;

  // A pass may hold up to `rows_max` rows.
  virtual std::unique_ptr<Transformer> NewTransformer(int64_t rows_max) = 0;
  // Of the rows of its passes. `transformer` was made by this backend and outlives the sampler.
  virtual std::unique_ptr<RowSampler> NewRowSampler(Transformer& transformer) = 0;
  virtual KvOps& kv_ops() = 0;

  // What its bits depend on besides model and code; empty on the CPU.
  virtual std::string arithmetic() const = 0;

  // Where KV pages lie.
  virtual KvAllocator& page_memory() = 0;
  // What the host and its sockets read and write in place of pages. Null: a data plane reads and
  // writes page_memory() itself. That does not mean that the host can: a device's pages are
  // reached by a data plane of devices alone.
  virtual KvAllocator* wire_memory() = 0;
};

}  // namespace lynx
