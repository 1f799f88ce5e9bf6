// The forward pass of a Llama-type model over the rows of a step: prefill chunks, plain decoding,
// drafting and verification side by side, each sequence with its own KV view. Weights are read once
// for all rows.
//
// A row's results depend on its sequence alone, never on what else is in the pass
// (docs/exactness.md). Thread: the engine thread. A device that fails in the middle of a pass
// cannot go on: the process says why and ends.
#pragma once

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "model/kv_sequence.h"

namespace lynx {

// One sequence's rows of a pass: consecutive positions.
struct PassRows {
  std::span<const int32_t> tokens;  // ids in [0, vocab)
  int64_t first_position = 0;  // of tokens[0]; the keys and values of all before it are in `kv`
  KvSequence* kv = nullptr;    // the rows' own keys and values are written to its BF16 pages
  KvView view = KvView::kTarget;
};

// What a pass is for. A row has the same bits in every pass of a kind, whatever its size; a backend
// may compute the two kinds differently.
enum class PassKind : uint8_t {
  kPrefill,  // of prompts; every KV page that it reads is BF16
  kDecode,   // plain decoding, drafting, verification
};

inline void NoLayerHook(int) {}

// Called for each layer of a pass, in order. Made in the call of Forward: it refers to its
// functions.
struct LayerHooks {
  // The keys and values of all rows in this layer are written before whatever is queued now
  // (KvOps).
  absl::FunctionRef<void(int layer)> queued = &NoLayerHook;
  // The work that `queued` queued may be waited for now: the backend has been given all of the pass
  // that it can compute beside it.
  absl::FunctionRef<void(int layer)> done = &NoLayerHook;
};

class Transformer {
 public:
  // Rows whose logits one call can give.
  static constexpr int64_t kLogitRowsMax = 128;

  virtual ~Transformer() = default;

  virtual int64_t rows_max() const = 0;  // of a pass
  virtual int64_t vocab() const = 0;

  // Runs all layers.
  virtual void Forward(PassKind kind, std::span<const PassRows> pass, LayerHooks hooks) = 0;
  void Forward(PassKind kind, std::span<const PassRows> pass) { Forward(kind, pass, {}); }

  // Logits of rows of the last pass (numbered over the pass from 0), [rows.size(), vocab], in host
  // memory; at most kLogitRowsMax rows. Valid until the next call.
  virtual const float* Logits(std::span<const int64_t> rows) = 0;
};

}  // namespace lynx
