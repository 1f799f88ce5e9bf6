#include "model/loader.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>

#include "tests/model/temp_folder.h"

namespace lynx {
namespace {

const std::string kModels = LYNX_TEST_DATA "/models/";

LoadedModel Load(const std::string& name) {
  auto model = LoadModel(kModels + name);
  if (!model.ok()) FAIL(model.status().message());
  return *std::move(model);
}

// Weight [row, column] of packed weights, by the layout's definition.
bf16 At(const PackedWeights& packed, int64_t row, int64_t column) {
  const PackedMatrix m = packed.view();
  return m.data[((row / 64 * ((m.k + 1) / 2) + column / 2) * 64 + row % 64) * 2 + column % 2];
}

// Whether rows [first, first + n) of `packed` are the safetensors matrix.
bool HoldsRows(const PackedWeights& packed, int64_t first, const ModelTensor& tensor) {
  const int64_t columns = tensor.shape[1];
  if (packed.k() != columns || tensor.type != GgmlType::kBF16) return false;
  for (int64_t row = 0; row < tensor.shape[0]; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      bf16 wanted;
      std::memcpy(&wanted, tensor.data.data() + (row * columns + column) * 2, 2);
      if (!(At(packed, first + row, column) == wanted)) return false;
    }
  }
  return true;
}

bool HoldsVector(std::span<const float> values, const ModelTensor& tensor) {
  if (static_cast<int64_t>(values.size()) != tensor.shape[0]) return false;
  for (size_t i = 0; i < values.size(); ++i) {
    bf16 wanted;
    std::memcpy(&wanted, tensor.data.data() + i * 2, 2);
    if (values[i] != ToFloat(wanted)) return false;
  }
  return true;
}

TEST_CASE("loader: GGUF and folder of one model have the same config and hash") {
  for (const std::string name : {"tiny-llama", "tiny-qwen2"}) {
    const LoadedModel gguf = Load(name + ".gguf");
    const LoadedModel hf = Load(name);
    CHECK(gguf.weights.hash == hf.weights.hash);
    CHECK(gguf.weights.hash.ToHex() == hf.weights.hash.ToHex());
    CHECK(gguf.config.architecture == hf.config.architecture);
    CHECK(gguf.config.eos_ids == hf.config.eos_ids);
    CHECK(gguf.config.max_context == hf.config.max_context);
    CHECK(gguf.config.rms_eps == hf.config.rms_eps);
    CHECK(hf.config.name == name);
    CHECK(gguf.files.gguf != nullptr);
    CHECK(gguf.files.gguf->String("tokenizer.ggml.model").ok());  // after the pages were let go
    CHECK(gguf.files.folder.empty());
    CHECK(hf.files.gguf == nullptr);
    CHECK(hf.files.folder == kModels + name);
  }
  CHECK_FALSE(Load("tiny-llama").weights.hash == Load("tiny-qwen2").weights.hash);
}

// Against the numbers in the safetensors files, whose rows need no reordering.
void CheckWeights(const LoadedModel& model, const SafetensorsMap& t) {
  const ModelConfig& c = model.config;
  const Weights& w = model.weights;
  const ModelTensor& embedding = t.at("model.embed_tokens.weight");
  // The embedding is held once: by the packed head if they are tied.
  REQUIRE(w.token_embedding.span().size_bytes() == (c.tied_embeddings ? 0 : embedding.data.size()));
  CHECK(std::equal(w.token_embedding.span().begin(), w.token_embedding.span().end(),
                   reinterpret_cast<const bf16*>(embedding.data.data())));
  CHECK(HoldsRows(w.lm_head, 0, c.tied_embeddings ? embedding : t.at("lm_head.weight")));
  CHECK(HoldsVector(w.final_norm, t.at("model.norm.weight")));
  REQUIRE(static_cast<int64_t>(w.layers.size()) == c.layers);
  for (size_t i = 0; i < w.layers.size(); ++i) {
    const LayerWeights& layer = w.layers[i];
    auto at = [&](const char* name) -> const ModelTensor& {
      return t.at(absl::StrCat("model.layers.", i, ".", name));
    };
    const int64_t q_rows = c.q_heads * c.head_dim, kv_rows = c.kv_heads * c.head_dim;
    CHECK(layer.qkv.n() == q_rows + 2 * kv_rows);
    CHECK(HoldsRows(layer.qkv, 0, at("self_attn.q_proj.weight")));
    CHECK(HoldsRows(layer.qkv, q_rows, at("self_attn.k_proj.weight")));
    CHECK(HoldsRows(layer.qkv, q_rows + kv_rows, at("self_attn.v_proj.weight")));
    CHECK(HoldsRows(layer.attention_output, 0, at("self_attn.o_proj.weight")));
    CHECK(layer.gate_up.n() == 2 * c.intermediate);
    CHECK(HoldsRows(layer.gate_up, 0, at("mlp.gate_proj.weight")));
    CHECK(HoldsRows(layer.gate_up, c.intermediate, at("mlp.up_proj.weight")));
    CHECK(HoldsRows(layer.down, 0, at("mlp.down_proj.weight")));
    CHECK(HoldsVector(layer.attention_norm, at("input_layernorm.weight")));
    CHECK(HoldsVector(layer.ffn_norm, at("post_attention_layernorm.weight")));
    const std::span<const float> bias(layer.qkv_bias);
    REQUIRE(static_cast<int64_t>(bias.size()) == (c.qkv_bias ? q_rows + 2 * kv_rows : 0));
    if (!c.qkv_bias) continue;
    const auto q = static_cast<size_t>(q_rows), kv = static_cast<size_t>(kv_rows);
    CHECK(HoldsVector(bias.subspan(0, q), at("self_attn.q_proj.bias")));
    CHECK(HoldsVector(bias.subspan(q, kv), at("self_attn.k_proj.bias")));
    CHECK(HoldsVector(bias.subspan(q + kv, kv), at("self_attn.v_proj.bias")));
  }
}

TEST_CASE("loader: every weight is where it belongs") {
  for (const std::string name : {"tiny-llama", "tiny-qwen2"}) {
    auto folder = SafetensorsFolder::Open(kModels + name);
    REQUIRE(folder.ok());
    for (const std::string suffix : {"", ".gguf"}) {
      CAPTURE(name + suffix);
      CheckWeights(Load(name + suffix), folder->tensors());
    }
  }
}

TEST_CASE("loader: the same bits for every number of threads") {
  const auto same = [](const PackedWeights& a, const PackedWeights& b) {
    const PackedMatrix x = a.view(), y = b.view();
    if (x.n != y.n || x.k != y.k) return false;
    const int64_t panels = (x.n + kPanelColumns - 1) / kPanelColumns;
    const size_t elements = panels * ((x.k + 1) / 2) * 2 * kPanelColumns;
    return std::memcmp(x.data, y.data, elements * sizeof(bf16)) == 0;
  };
  for (const std::string name :
       {"tiny-llama", "tiny-qwen2", "tiny-llama.gguf", "tiny-qwen2.gguf"}) {
    const LoadedModel one = Load(name);
    for (const int threads : {2, 3, 8}) {
      INFO(name << ", " << threads << " threads");
      const auto many = LoadModel(kModels + name, threads);
      REQUIRE(many.ok());
      const Weights &a = one.weights, &b = many->weights;
      CHECK(a.hash == b.hash);
      CHECK(std::equal(a.token_embedding.span().begin(), a.token_embedding.span().end(),
                       b.token_embedding.span().begin(), b.token_embedding.span().end()));
      CHECK(same(a.lm_head, b.lm_head));
      REQUIRE(a.layers.size() == b.layers.size());
      for (size_t i = 0; i < a.layers.size(); ++i) {
        CHECK(same(a.layers[i].qkv, b.layers[i].qkv));
        CHECK(same(a.layers[i].attention_output, b.layers[i].attention_output));
        CHECK(same(a.layers[i].gate_up, b.layers[i].gate_up));
        CHECK(same(a.layers[i].down, b.layers[i].down));
        CHECK(a.layers[i].qkv_bias == b.layers[i].qkv_bias);
        CHECK(a.layers[i].ffn_norm == b.layers[i].ffn_norm);
      }
    }
  }
}

TEST_CASE("loader: metadata without weights") {
  for (const std::string name : {"tiny-llama", "tiny-llama.gguf", "tiny-qwen2"}) {
    auto model = LoadModelMetadata(kModels + name);
    REQUIRE(model.ok());
    CHECK(model->config.vocab == 300);
    CHECK((model->files.gguf != nullptr) == name.ends_with(".gguf"));
  }
  // A folder whose weights are gone still has its metadata.
  TempFolder folder;
  folder.CopyFrom(kModels + "tiny-llama");
  std::filesystem::remove(folder.File("model-00002-of-00002.safetensors"));
  CHECK(LoadModelMetadata(folder.path()).ok());
  CHECK(absl::IsNotFound(LoadModel(folder.path()).status()));
}

TEST_CASE("loader: paths that hold no model") {
  TempFolder folder;
  folder.Write("text", "this is no model");
  folder.Write("empty", "");
  for (const std::string& path :
       {folder.File("text"), folder.File("empty"), folder.File("absent"), folder.path()}) {
    auto model = LoadModel(path);
    REQUIRE_FALSE(model.ok());
    CHECK_THAT(std::string(model.status().message()), Catch::Contains(path));
    CHECK_FALSE(LoadModelMetadata(path).ok());
  }
}

class LoadWeightsTest {
 protected:
  LoadWeightsTest() {
    file_ = std::make_unique<GgufFile>(*GgufFile::Open(kModels + "tiny-llama.gguf"));
    config_ = *ConfigOf("tiny-llama.gguf");
    source_ = SourceFromGguf(*file_, config_);
  }
  static absl::StatusOr<ModelConfig> ConfigOf(const std::string& name) {
    ASSIGN_OR_RETURN(ModelMetadata metadata, LoadModelMetadata(kModels + name));
    return metadata.config;
  }
  WeightsHash Hash() const {
    auto weights = LoadWeights(config_, source_);
    REQUIRE(weights.ok());
    return weights->hash;
  }
  void CheckError(const char* wanted) const {
    auto weights = LoadWeights(config_, source_);
    REQUIRE_FALSE(weights.ok());
    CHECK_THAT(std::string(weights.status().message()), Catch::Contains(wanted));
  }
  // Puts a changed copy of a tensor in its place.
  ModelTensor& Change(std::string_view name) {
    changed_ = *source_.tensors.at(name);
    source_.tensors[name] = &changed_;
    return changed_;
  }

  std::unique_ptr<GgufFile> file_;
  ModelConfig config_;
  TensorSource source_;
  ModelTensor changed_;
};

TEST_CASE_METHOD(LoadWeightsTest, "weights: what does not fit is named") {
  SECTION("missing") {
    source_.tensors.erase("blk.1.attn_k.weight");
    CheckError("tensor 'blk.1.attn_k.weight' of shape [32, 64] is missing");
  }
  SECTION("missing head") {
    config_.tied_embeddings = false;
    CheckError("tensor 'output.weight' of shape [300, 64] is missing");
  }
  SECTION("another shape") {
    Change("blk.0.ffn_down.weight").shape = {128, 64};
    CheckError("tensor 'blk.0.ffn_down.weight' has shape [128, 64], wanted [64, 128]");
  }
  SECTION("another shape of a norm") {
    Change("output_norm.weight").shape = {8, 8};
    CheckError("tensor 'output_norm.weight' has shape [8, 8], wanted [64]");
  }
  SECTION("a type that is not supported") {
    Change("blk.0.ffn_up.weight").type = static_cast<GgmlType>(16);
    CheckError("tensor 'blk.0.ffn_up.weight' has type IQ2_XXS, which is not supported");
  }
  SECTION("no place for it") {
    source_.tensors["blk.0.attn_q_norm.weight"] = source_.tensors.at("blk.0.attn_norm.weight");
    CheckError("tensor 'blk.0.attn_q_norm.weight' of shape [64] has no place");
  }
  SECTION("fewer layers than tensors") {
    config_.layers = 1;
    CheckError("has no place in such a model");
  }
  SECTION("NaN in a norm") {
    std::vector<float> nan(64, std::nanf(""));
    Change("blk.0.attn_norm.weight").data = std::as_bytes(std::span(nan));
    CheckError("tensor 'blk.0.attn_norm.weight' holds Inf or NaN");
  }
  SECTION("a config far beyond what the file holds") {
    config_.hidden = 1 << 20;
    config_.vocab = 1 << 24;
    CheckError("tensor 'token_embd.weight' has shape [300, 64], wanted [16777216, 1048576]");
  }
}

TEST_CASE_METHOD(LoadWeightsTest,
                 "weights: the hash sees what is computed with, and nothing else") {
  const WeightsHash hash = Hash();
  CHECK(hash == Hash());
  config_.name = "other";
  config_.max_context = 7;
  config_.eos_ids = {1};
  CHECK(hash == Hash());
  SECTION("RoPE base") { config_.rope.theta = 20000; }
  SECTION("epsilon") { config_.rms_eps = 1e-6f; }
  SECTION("RoPE scaling") {
    config_.rope.scaling = RopeScaling::kLinear;
    config_.rope.factor = 2;
  }
  SECTION("frequency divisors") { config_.rope.frequency_divisors.assign(8, 1.0f); }
  SECTION("order of heads") { source_.interleaved_rope = false; }
  SECTION("one bit") {
    const auto original = source_.tensors.at("blk.1.ffn_up.weight")->data;
    static std::vector<std::byte> copy;
    copy.assign(original.begin(), original.end());
    copy[1000] ^= std::byte{1};
    Change("blk.1.ffn_up.weight").data = copy;
  }
  CHECK_FALSE(hash == Hash());
}

}  // namespace
}  // namespace lynx
