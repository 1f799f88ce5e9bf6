// Passes on the device: a row has the same bits however its step is launched.
#include <algorithm>
#include <random>
#include <vector>

#include "tests/cuda/step_bed.h"

namespace lynx {
namespace {

using testing::LoadTinyModel;
using testing::SameBits;
using testing::StepBed;

// A script of steps over sequences that come, grow and go, from a seed alone.
class RandomSteps {
 public:
  RandomSteps(StepBed& bed, uint64_t seed) : bed_(bed), rng_(seed) {}

  // The logits of the next step.
  std::vector<float> Next() {
    while (texts_.size() < 4) Begin();
    if (rng_() % 6 == 0) texts_.erase(texts_.begin() + static_cast<int64_t>(rng_() % 4));
    if (rng_() % 4 == 0) MakeRaw(texts_[rng_() % texts_.size()]);
    // Mostly plain decoding of all of them: steps of the same shape.
    const bool mixed = rng_() % 3 == 0;
    std::vector<PassRows> pass;
    for (Text& text : texts_) {
      if (text.length + 4 > text.kv->total_tokens()) text.length = text.prompt;  // over again
      const int64_t count = mixed ? 1 + static_cast<int64_t>(rng_() % 4) : 1;
      text.tokens = bed_.Tokens(count, rng_());
      pass.push_back({.tokens = text.tokens,
                      .first_position = text.length,
                      .kv = text.kv.get(),
                      .view = mixed && rng_() % 2 == 0 ? KvView::kDraft : KvView::kTarget});
      text.length += count;
    }
    return bed_.Step(pass);
  }

 private:
  struct Text {
    std::unique_ptr<KvSequence> plain, kv;
    int64_t prompt = 0, length = 0;
    std::vector<int32_t> tokens;
  };

  void Begin() {
    Text text;
    text.prompt = text.length = 20 + static_cast<int64_t>(rng_() % 120);
    text.plain = bed_.Prefill(bed_.Tokens(text.prompt, rng_()));
    text.kv = bed_.Coded(*text.plain, 16);
    texts_.push_back(std::move(text));
  }

  // A page of the prompt is held as BF16 from now on.
  void MakeRaw(Text& text) {
    if (text.kv->code_pages() == 0) return;
    const auto page = static_cast<int64_t>(rng_() % static_cast<uint64_t>(text.kv->code_pages()));
    const auto layer = static_cast<int>(rng_() % static_cast<uint64_t>(bed_.config().layers));
    REQUIRE(text.kv->MakeRaw(layer, page));
    bed_.backend().kv_ops().Copy(text.kv->Bf16Page(layer, page), text.plain->Bf16Page(layer, page),
                                 Bf16PageBytes(text.kv->geometry().shape));
  }

  StepBed& bed_;
  std::mt19937_64 rng_;
  std::vector<Text> texts_;
};

}  // namespace

TEST_CASE("steps as graphs have the bits of steps that are launched one kernel at a time") {
  const LoadedModel model = LoadTinyModel("tiny-llama-d64.gguf");
  for (const int64_t graphs_max : {32, 1}) {
    StepBed eager(model), graphs(model, graphs_max);
    RandomSteps one(eager, 5), other(graphs, 5);
    for (int step = 0; step < 20; ++step) {
      CAPTURE(graphs_max, step);
      REQUIRE(SameBits(one.Next(), other.Next()));
    }
    const cuda::StepGraphs::Stats& stats = graphs.transformer().graph_stats();
    CHECK(eager.transformer().graph_stats().captured == 0);
    CHECK(stats.captured > 0);
    CHECK(stats.replayed > 0);
    CHECK((stats.evicted > 0) == (stats.captured > graphs_max));
    if (graphs_max == 1) CHECK(stats.evicted > 0);
  }
}

TEST_CASE("weights from the file are those that are loaded first") {
  for (const char* name : {"tiny-llama-d64.gguf", "tiny-qwen2-d64.gguf"}) {
    const LoadedModel loaded = LoadTinyModel(name);
    StepBed first(loaded);
    std::unique_ptr<StepBed> direct;
    const auto model = LoadModelInto(std::string(LYNX_TEST_DATA "/models/") + name, 2,
                                     [&](const ModelConfig& config, FeedWeights feed) {
                                       direct = std::make_unique<StepBed>(config, feed);
                                       return absl::OkStatus();
                                     });
    REQUIRE(model.ok());
    CHECK(model->weights.hash == loaded.weights.hash);
    const std::vector<int32_t> tokens = first.Tokens(40, 9);
    const auto logits = [&](StepBed& bed) {
      auto kv = KvSequence::Create(bed.Geometry(KvTarget::kBf16Whole), 0, 40, {&bed.pool()});
      return bed.Step({{.tokens = tokens, .kv = kv.get()}});
    };
    CHECK(SameBits(logits(first), logits(*direct)));
  }
}

TEST_CASE("a row's bits do not depend on how many launches attention takes") {
  const LoadedModel model = LoadTinyModel("tiny-qwen2-d64.gguf");
  StepBed bed(model);
  auto plain = bed.Prefill(bed.Tokens(1100, 3));  // three splits
  const std::vector<int32_t> tokens = bed.Tokens(20, 4);
  const auto stream = cuda::NewStream();
  REQUIRE(stream.ok());
  const auto weights = cuda::DeviceWeights::Upload(
      model.config, [&](WeightsOut& out) { return PutWeights(model.weights, out); },
      {.cublaslt_in_prefill = false, .check = false}, stream->get());
  REQUIRE(weights.ok());
  std::vector<std::vector<float>> results;
  for (const int64_t launch_items : {1000, 3, 5}) {
    cuda::PassLimits limits = cuda::PassLimitsOf(bed.config(), 32, StepBed::kKvBytes);
    limits.launch_items = launch_items;
    auto transformer = cuda::CudaTransformer::Create(model.config, **weights, stream->get(), limits,
                                                     /*graphs_max=*/0);
    REQUIRE(transformer.ok());
    auto kv = bed.Coded(*plain, 20);
    const PassRows rows{.tokens = tokens, .first_position = 1100, .kv = kv.get()};
    results.push_back(StepBed::Step(**transformer, {rows}));
  }
  CHECK(SameBits(results[0], results[1]));
  CHECK(SameBits(results[0], results[2]));
}

TEST_CASE("launches are made for a little more than they need, within their limit") {
  for (int64_t count = 1; count < 5000; ++count) {
    const int64_t padded = cuda::PaddedItems(count, 4999);
    REQUIRE(padded >= count);
    REQUIRE(padded <= 4999);
    REQUIRE((padded <= 8 || padded * 4 <= count * 5 + 28));
  }
  CHECK(cuda::PaddedItems(1, 1) == 1);
  CHECK(cuda::PaddedItems(100, 4999) == cuda::PaddedItems(101, 4999));
}

}  // namespace lynx
