// What a request must be answered, from the reference decoder: tokens, log-probabilities, and the
// text and usage that follow from them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gateway/text_model.h"
#include "model/loader.h"
#include "model/reference_decoder.h"
#include "model/sampling_params.h"
#include "tests/e2e/product_case.h"

namespace lynx {

// Alternatives that are asked for with log-probabilities.
inline constexpr int kProductLogprobs = 3;

struct ProductRequest {
  ProductCase wanted;
  std::vector<int32_t> prompt;
  SamplingParams sampling;  // with the request's seed
  bool ignore_eos = false;
  std::vector<std::string> stops;
  std::vector<int32_t> stop_token_ids;
};

struct ExpectedChoice {
  std::vector<int32_t> ids;
  std::vector<Logprobs> logprobs;
  std::vector<Logprobs> prompt_logprobs;  // if echo and log-probabilities are wanted
  std::string bytes;                      // the completion's, before the stop string
  std::string finish_reason;
  std::vector<size_t> token_begin;  // [ids], in the bytes without any stop
  std::string all_bytes;
};

class ProductOracle {
 public:
  // Both outlive it. `transformer`: the reference's own.
  ProductOracle(const LoadedModel& model, const TextModel& text, Transformer& transformer,
                Backend& backend)
      : model_(model), text_(text), transformer_(transformer), backend_(backend) {}

  // The request of a case whose prompt is part of `text`. Where a stop is wanted, it is one that
  // the text of choice 0 meets about half-way, if it can be.
  absl::StatusOr<ProductRequest> MakeRequest(const ProductCase& c,
                                             const std::vector<int32_t>& text);
  absl::StatusOr<ExpectedChoice> Expect(const ProductRequest& request, int choice);

 private:
  // Of target, prompt and sampling alone: split, link, batch and the rest have no say in it.
  absl::StatusOr<const ReferenceResult*> Reference(const ProductRequest& request, int choice);
  void AddStop(const ReferenceResult& reference, ProductRequest* request) const;
  bool EndsText(const ProductRequest& request, int32_t id) const;

  const LoadedModel& model_;
  const TextModel& text_;
  Transformer& transformer_;
  Backend& backend_;
  std::map<std::string, std::unique_ptr<const ReferenceResult>> known_;
};

}  // namespace lynx
