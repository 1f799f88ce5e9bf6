// Runs cases of the product: HTTP client, gateway, decode and prefill engines on virtual time, and
// compares what comes back with the reference.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/virtual_pair.h"
#include "gateway/server.h"
#include "model/loader.h"
#include "runtime/thread_pool.h"
#include "tests/e2e/completion_reply.h"
#include "tests/e2e/pair_decode.h"
#include "tests/e2e/product_oracle.h"

namespace lynx {

struct ProductTotals {
  int64_t drafted = 0, accepted = 0, rolled_back = 0;
};

class ProductBed {
 public:
  // `text_file`: what prompts are cut from; it repeats itself where it is too short.
  static absl::StatusOr<std::unique_ptr<ProductBed>> Make(const std::string& model_path,
                                                          const std::string& text_file,
                                                          int threads);

  // OK: the answers to the case and its batch mates are the reference's, and no memory is left in
  // use. INTERNAL says what differs.
  absl::Status Run(const ProductCase& c);

  const ProductTotals& totals() const { return totals_; }

 private:
  ProductBed(int threads, LoadedModel model);
  absl::Status Open(const std::string& model_path, const std::string& text_file);
  std::unique_ptr<VirtualPair> MakePair(const ProductCase& c);
  absl::Status Compare(const ProductRequest& request, const CompletionReply& reply);

  ThreadPool pool_;
  const LoadedModel model_;
  const Kernels* kernels_ = nullptr;
  std::unique_ptr<const TextModel> text_;
  std::vector<int32_t> prompt_text_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<ProductOracle> oracle_;
  std::shared_ptr<PairDecode> decode_;
  std::unique_ptr<GatewayServer> gateway_;
  ProductTotals totals_;
};

}  // namespace lynx
