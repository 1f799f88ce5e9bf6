// Weights that go elsewhere, batch by batch, are those that are packed for the CPU.
#include "model/weights_reader.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <utility>
#include <vector>

#include "model/loader.h"

namespace lynx {
namespace {

const std::string kModels = LYNX_TEST_DATA "/models/";

// Keeps all that it is given. Batches are as small as they may be, and their memory is overwritten
// once they are put.
class Recorder final : public WeightsOut {
 public:
  absl::Status BeginMatrix(MatrixRole role, int64_t layer, int64_t rows, int64_t columns) override {
    columns_ = columns;
    matrix_ = &matrices[{role, layer}];
    CHECK(matrix_->empty());
    matrix_->resize(static_cast<size_t>(rows * columns), bf16{0xffff});
    next_row_ = 0;
    return absl::OkStatus();
  }
  int64_t BatchValuesMax() const override { return 64 * columns_; }
  absl::StatusOr<std::span<bf16>> Room(int64_t values) override {
    CHECK(values <= BatchValuesMax());
    room_.resize(static_cast<size_t>(values));
    return std::span<bf16>(room_);
  }
  void PutPiece(int64_t, int64_t, const bf16*) override {}
  absl::Status PutBatch(int64_t first_row, std::span<const bf16> rows) override {
    CHECK(first_row == next_row_);
    next_row_ += static_cast<int64_t>(rows.size()) / columns_;
    std::copy(rows.begin(), rows.end(), matrix_->begin() + first_row * columns_);
    std::fill(room_.begin(), room_.end(), bf16{0xffff});
    return absl::OkStatus();
  }
  absl::Status PutVector(VectorRole role, int64_t layer, std::span<const float> values) override {
    vectors[{role, layer}].assign(values.begin(), values.end());
    return absl::OkStatus();
  }

  std::map<std::pair<MatrixRole, int64_t>, std::vector<bf16>> matrices;
  std::map<std::pair<VectorRole, int64_t>, std::vector<float>> vectors;

 private:
  std::vector<bf16>* matrix_ = nullptr;
  int64_t columns_ = 0, next_row_ = 0;
  std::vector<bf16> room_;
};

std::vector<bf16> Unpacked(const PackedWeights& packed) {
  std::vector<bf16> rows(static_cast<size_t>(packed.n() * packed.k()));
  for (int64_t row = 0; row < packed.n(); ++row) packed.GetRow(row, rows.data() + row * packed.k());
  return rows;
}

void CheckHolds(const Recorder& got, const ModelConfig& config, const Weights& want) {
  for (int64_t i = 0; i < config.layers; ++i) {
    const LayerWeights& layer = want.layers[static_cast<size_t>(i)];
    CHECK((got.matrices.at({MatrixRole::kQkv, i}) == Unpacked(layer.qkv)));
    CHECK((got.matrices.at({MatrixRole::kAttentionOutput, i}) == Unpacked(layer.attention_output)));
    CHECK((got.matrices.at({MatrixRole::kGateUp, i}) == Unpacked(layer.gate_up)));
    CHECK((got.matrices.at({MatrixRole::kDown, i}) == Unpacked(layer.down)));
    CHECK(got.vectors.at({VectorRole::kAttentionNorm, i}) == layer.attention_norm);
    CHECK(got.vectors.at({VectorRole::kFfnNorm, i}) == layer.ffn_norm);
    CHECK(got.vectors.contains({VectorRole::kQkvBias, i}) == config.qkv_bias);
    if (config.qkv_bias) CHECK(got.vectors.at({VectorRole::kQkvBias, i}) == layer.qkv_bias);
  }
  CHECK(got.vectors.at({VectorRole::kFinalNorm, 0}) == want.final_norm);
  CHECK((got.matrices.at({MatrixRole::kLmHead, 0}) == Unpacked(want.lm_head)));
  CHECK(got.matrices.contains({MatrixRole::kTokenEmbedding, 0}) == !config.tied_embeddings);
  if (config.tied_embeddings) return;
  const std::vector<bf16>& embedding = got.matrices.at({MatrixRole::kTokenEmbedding, 0});
  CHECK(std::ranges::equal(embedding, want.token_embedding.span()));
}

TEST_CASE("weights put elsewhere are those that are packed, with the same hash") {
  int untied = 0;
  for (const std::string name :
       {"tiny-llama", "tiny-qwen2", "tiny-llama.gguf", "tiny-qwen2.gguf"}) {
    const auto packed = LoadModel(kModels + name);
    REQUIRE(packed.ok());
    untied += packed->config.tied_embeddings ? 0 : 1;
    for (const int threads : {1, 3}) {
      INFO(name << ", " << threads << " threads");
      Recorder direct;
      const auto into =
          LoadModelInto(kModels + name, threads,
                        [&](const ModelConfig&, FeedWeights feed) { return feed(direct); });
      REQUIRE(into.ok());
      CHECK(into->weights.hash == packed->weights.hash);
      CHECK(into->weights.layers.empty());
      CheckHolds(direct, packed->config, packed->weights);
    }
    Recorder again;
    REQUIRE(PutWeights(packed->weights, again).ok());
    CheckHolds(again, packed->config, packed->weights);
  }
  CHECK(untied > 0);
}

TEST_CASE("what takes the weights may refuse them") {
  const auto refused = LoadModelInto(kModels + "tiny-llama.gguf", 1,
                                     [](const ModelConfig&, FeedWeights) -> absl::Status {
                                       return absl::ResourceExhaustedError("no room");
                                     });
  CHECK(absl::IsResourceExhausted(refused.status()));
}

}  // namespace
}  // namespace lynx
