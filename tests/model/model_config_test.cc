// Configs out of config.json and GGUF metadata.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "model/gguf_config.h"
#include "model/hf_config.h"
#include "model/weights_hash.h"
#include "tests/model/gguf_builder.h"
#include "tests/model/temp_folder.h"

namespace lynx {
namespace {

using Type = GgufValueType;
using B = GgufBuilder;

constexpr char kSizes[] =
    R"("num_hidden_layers":2,"hidden_size":64,"intermediate_size":128,"num_attention_heads":4,)"
    R"("num_key_value_heads":2,"vocab_size":300,"max_position_embeddings":4096)";

absl::StatusOr<ModelConfig> FromJson(const std::string& architecture, const std::string& more,
                                     const std::string& generation = "") {
  TempFolder folder;
  folder.Write("config.json", absl::StrCat(R"({"architectures":[")", architecture, R"("],)", kSizes,
                                           more.empty() ? "" : ",", more, "}"));
  if (!generation.empty()) folder.Write("generation_config.json", generation);
  return ConfigFromHfFolder(folder.path());
}

void CheckError(const absl::StatusOr<ModelConfig>& config, const char* wanted) {
  REQUIRE_FALSE(config.ok());
  CHECK_THAT(std::string(config.status().message()), Catch::Contains(wanted));
}

TEST_CASE("config.json: defaults and architectures") {
  auto config = FromJson("LlamaForCausalLM", "");
  REQUIRE(config.ok());
  CHECK(config->architecture == Architecture::kLlama);
  CHECK((config->layers == 2 && config->hidden == 64 && config->intermediate == 128));
  CHECK((config->q_heads == 4 && config->kv_heads == 2 && config->head_dim == 16));
  CHECK((config->vocab == 300 && config->max_context == 4096));
  CHECK((config->rms_eps == 1e-6f && config->rope.theta == 10000.0));
  CHECK_FALSE((config->tied_embeddings || config->qkv_bias));
  CHECK(config->eos_ids.empty());
  auto mistral = FromJson("MistralForCausalLM", R"("head_dim":32,"sliding_window":null)");
  REQUIRE(mistral.ok());
  CHECK((mistral->architecture == Architecture::kLlama && mistral->head_dim == 32));
  auto qwen = FromJson("Qwen2ForCausalLM", R"("tie_word_embeddings":true)");
  REQUIRE(qwen.ok());
  CHECK((qwen->architecture == Architecture::kQwen2 && qwen->qkv_bias && qwen->tied_embeddings));
}

TEST_CASE("config.json: end-of-text ids of both files") {
  auto config =
      FromJson("LlamaForCausalLM", R"("eos_token_id":[7,3])", R"({"eos_token_id":[299,3]})");
  REQUIRE(config.ok());
  CHECK(config->eos_ids == std::vector<int32_t>{3, 7, 299});
  CheckError(FromJson("LlamaForCausalLM", R"("eos_token_id":300)"), "eos_token_id");
  CheckError(FromJson("LlamaForCausalLM", R"("eos_token_id":"x")"), "eos_token_id");
  CheckError(FromJson("LlamaForCausalLM", "", R"({"eos_token_id":-1})"), "generation_config.json");
  CheckError(FromJson("LlamaForCausalLM", "", "{"), "generation_config.json");
}

TEST_CASE("config.json: RoPE scaling in every spelling") {
  auto linear = FromJson("LlamaForCausalLM", R"("rope_scaling":{"type":"linear","factor":4})");
  REQUIRE(linear.ok());
  CHECK((linear->rope.scaling == RopeScaling::kLinear && linear->rope.factor == 4));
  CHECK(linear->max_context == 16384);

  const std::string llama3 =
      R"("factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":1024)";
  for (const std::string& spelling :
       {R"("rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3",)" + llama3 + "}",
        R"("rope_parameters":{"rope_theta":500000.0,"rope_type":"llama3",)" + llama3 + "}"}) {
    auto config = FromJson("LlamaForCausalLM", spelling);
    REQUIRE(config.ok());
    CHECK(config->rope.scaling == RopeScaling::kNone);
    CHECK((config->rope.theta == 500000.0 && config->max_context == 4096));
    CHECK(config->rope.frequency_divisors.size() == 8);
  }

  auto yarn = FromJson(
      "Qwen2ForCausalLM",
      R"("rope_scaling":{"type":"yarn","factor":4.0,"original_max_position_embeddings":4096})");
  REQUIRE(yarn.ok());
  CHECK((yarn->rope.scaling == RopeScaling::kYarn && yarn->rope.factor == 4));
  CHECK((yarn->rope.original_context == 4096 && yarn->max_context == 16384));
  CHECK((yarn->rope.beta_fast == 32 && yarn->rope.beta_slow == 1));
  CHECK(yarn->rope.attention_factor == 0);

  auto none = FromJson("LlamaForCausalLM", R"("rope_parameters":{"rope_type":"default"})");
  REQUIRE(none.ok());
  CHECK(none->rope.scaling == RopeScaling::kNone);
}

TEST_CASE("config.json: what is not supported is named") {
  auto llama = [](const char* more) { return FromJson("LlamaForCausalLM", more); };
  CheckError(FromJson("Gemma3ForCausalLM", ""),
             "architecture 'Gemma3ForCausalLM' is not supported");
  CheckError(FromJson("MixtralForCausalLM", ""), "'MixtralForCausalLM' is not supported");
  CheckError(llama(R"("rope_scaling":{"type":"dynamic","factor":2})"), "RoPE scaling 'dynamic'");
  CheckError(llama(R"("rope_scaling":{"type":"linear"})"), "'factor' is missing");
  CheckError(llama(R"("rope_scaling":{"type":"linear","factor":0})"), "");
  CheckError(llama(R"("rope_scaling":{"type":"yarn","factor":1e300})"), "");
  CheckError(llama(R"("partial_rotary_factor":0.5)"), "partial_rotary_factor");
  CheckError(llama(R"("hidden_act":"gelu")"), "'gelu' is not supported");
  CheckError(llama(R"("attention_bias":true)"), "'attention_bias' is not supported");
  CheckError(llama(R"("mlp_bias":true)"), "'mlp_bias' is not supported");
  CheckError(llama(R"("quantization_config":{})"), "quantization_config");
  CheckError(llama(R"("num_hidden_layers":3)"), "'num_hidden_layers' is there twice");
  CheckError(llama(R"("head_dim":15)"), "head size");
  CheckError(llama(R"("head_dim":"x")"), "'head_dim' is no integer");
  CheckError(llama(R"("rope_theta":-1)"), "RoPE base");
}

TEST_CASE("config.json: a sliding window is refused only if it would be used") {
  CheckError(FromJson("MistralForCausalLM", R"("sliding_window":1024)"), "sliding-window");
  CHECK(FromJson("MistralForCausalLM", R"("sliding_window":4096)").ok());
  CHECK(FromJson("Qwen2ForCausalLM", R"("sliding_window":1024)").ok());
  CHECK(FromJson("Qwen2ForCausalLM",
                 R"("sliding_window":1024,"use_sliding_window":true,"max_window_layers":2)")
            .ok());
  CheckError(FromJson("Qwen2ForCausalLM",
                      R"("sliding_window":1024,"use_sliding_window":true,"max_window_layers":1)"),
             "sliding-window");
  CHECK(FromJson("MistralForCausalLM",
                 R"("sliding_window":1024,"layer_types":["full_attention","full_attention"])")
            .ok());
  CheckError(FromJson("MistralForCausalLM",
                      R"("sliding_window":9,"layer_types":["full_attention","sliding_attention"])"),
             "sliding-window");
}

GgufBuilder Gguf(const std::string& architecture) {
  GgufBuilder b;
  b.Add("general.architecture", Type::kString, B::Text(architecture));
  auto add = [&](const char* key, uint32_t value) {
    b.Add(architecture + "." + key, Type::kUint32, B::Raw(value));
  };
  add("block_count", 2);
  add("context_length", 4096);
  add("embedding_length", 64);
  add("feed_forward_length", 128);
  add("attention.head_count", 4);
  add("attention.head_count_kv", 2);
  add("vocab_size", 300);
  return b;
}

absl::StatusOr<ModelConfig> FromGguf(const GgufBuilder& b, size_t data_bytes = 0) {
  const std::string bytes = b.Build(data_bytes);
  auto file = GgufFile::Parse(AsBytes(bytes));
  REQUIRE(file.ok());
  return ConfigFromGguf(*file);
}

// Head sizes and factors of Llama 3.2 1B, Llama 3.1 8B, and one with another base. The divisors are
// what llama.cpp's converter writes: its lines, run by PyTorch 1.13.
struct Llama3Case {
  double theta;
  int head_dim;
  float factor;
  size_t untouched;            // so many divisors of 1 first
  std::vector<float> between;  // then these, then the factor
};
const Llama3Case kLlama3Cases[] = {
    {500000, 64, 32, 15, {0x1.a6bd84p+0f, 0x1.a568dep+1f, 0x1.3555dcp+3f}},
    {500000,
     128,
     8,
     29,
     {0x1.351daap+0f, 0x1.8dac94p+0f, 0x1.035e3ap+1f, 0x1.58e65cp+1f, 0x1.d7959cp+1f,
      0x1.50780cp+2f}},
    {10000, 64, 8, 21, {0x1.5c3fd2p+0f, 0x1.f6631ep+0f, 0x1.77fcbap+1f, 0x1.2b9d68p+2f}},
};

TEST_CASE("llama3's RoPE scaling is the same, bit for bit, from config.json and from GGUF") {
  for (const Llama3Case& c : kLlama3Cases) {
    std::vector<float> divisors(c.head_dim / 2, c.factor);
    std::fill_n(divisors.begin(), c.untouched, 1.0f);
    std::copy(c.between.begin(), c.between.end(), divisors.begin() + c.untouched);

    const auto hf =
        FromJson("LlamaForCausalLM",
                 absl::StrCat(R"("rms_norm_eps":1e-5,"head_dim":)", c.head_dim, R"(,"rope_theta":)",
                              c.theta, R"(,"rope_scaling":{"rope_type":"llama3","factor":)",
                              c.factor, R"(,"low_freq_factor":1.0,"high_freq_factor":4.0,)",
                              R"("original_max_position_embeddings":8192})"));
    REQUIRE(hf.ok());
    CHECK(hf->rope.frequency_divisors == divisors);

    const auto size = static_cast<uint32_t>(c.head_dim);
    const GgufBuilder builder =
        Gguf("llama")
            .Add("llama.attention.key_length", Type::kUint32, B::Raw(size))
            .Add("llama.attention.value_length", Type::kUint32, B::Raw(size))
            .Add("llama.attention.layer_norm_rms_epsilon", Type::kFloat32, B::Raw(1e-5f))
            .Add("llama.rope.freq_base", Type::kFloat32, B::Raw(static_cast<float>(c.theta)))
            .Tensor("rope_freqs.weight", {size / 2}, 0, 0);
    std::string bytes = builder.Build(divisors.size() * sizeof(float));
    std::memcpy(bytes.data() + bytes.size() - divisors.size() * sizeof(float), divisors.data(),
                divisors.size() * sizeof(float));
    const auto file = GgufFile::Parse(AsBytes(bytes));
    REQUIRE(file.ok());
    const auto gguf = ConfigFromGguf(*file);
    REQUIRE(gguf.ok());
    CHECK(WeightsHasher(*gguf).Finish() == WeightsHasher(*hf).Finish());
  }
}

TEST_CASE("config.json: llama3's scaling out of range is named") {
  const auto llama3 = [](const char* low, const char* high, const char* context) {
    return FromJson("LlamaForCausalLM",
                    absl::StrCat(R"("rope_scaling":{"rope_type":"llama3","factor":8,)",
                                 R"("low_freq_factor":)", low, R"(,"high_freq_factor":)", high,
                                 R"(,"original_max_position_embeddings":)", context, "}"));
  };
  CHECK(llama3("1", "4", "8192").ok());
  CheckError(llama3("0", "4", "8192"), "frequency factors are 0 and 4");
  CheckError(llama3("4", "4", "8192"), "frequency factors are 4 and 4");
  CheckError(llama3("1", "4", "0"), "original context is 0");
  CheckError(FromJson("LlamaForCausalLM",
                      R"("head_dim":1000000000000,"rope_scaling":{"rope_type":"llama3","factor":8,)"
                      R"("low_freq_factor":1,"high_freq_factor":4,)"
                      R"("original_max_position_embeddings":8192})"),
             "the head size");
}

TEST_CASE("GGUF config: RoPE scaling") {
  auto yarn = FromGguf(
      Gguf("llama")
          .Add("llama.rope.scaling.type", Type::kString, B::Text("yarn"))
          .Add("llama.rope.scaling.factor", Type::kFloat32, B::Raw(2.0f))
          .Add("llama.rope.scaling.original_context_length", Type::kUint32, B::Raw(2048u)));
  REQUIRE(yarn.ok());
  CHECK((yarn->rope.scaling == RopeScaling::kYarn && yarn->rope.factor == 2));
  CHECK((yarn->rope.original_context == 2048 && yarn->max_context == 4096));
  auto linear = FromGguf(Gguf("llama")
                             .Add("llama.rope.scaling.type", Type::kString, B::Text("linear"))
                             .Add("llama.rope.scaling.factor", Type::kFloat32, B::Raw(2.0f)));
  REQUIRE(linear.ok());
  CHECK((linear->rope.scaling == RopeScaling::kLinear && linear->rope.factor == 2));
  auto divisors = FromGguf(Gguf("llama").Tensor("rope_freqs.weight", {8}, 30, 0), 16);
  CheckError(divisors, "rope_freqs.weight");  // BF16
  CheckError(FromGguf(Gguf("llama").Tensor("rope_freqs.weight", {4}, 0, 0), 16),
             "tensor 'rope_freqs.weight' has shape [4], wanted [8]");
  CheckError(
      FromGguf(Gguf("llama").Add("llama.rope.scaling.type", Type::kString, B::Text("longrope"))),
      "RoPE scaling 'longrope'");
}

TEST_CASE("GGUF config: what is not supported is named") {
  CheckError(FromGguf(Gguf("gemma3")), "architecture 'gemma3' is not supported");
  CheckError(FromGguf(Gguf("llama").Add("llama.expert_count", Type::kUint32, B::Raw(8u))),
             "mixtures of experts");
  CheckError(FromGguf(Gguf("llama").Add("llama.rope.dimension_count", Type::kUint32, B::Raw(8u))),
             "RoPE over 8 of 16 channels");
  CheckError(
      FromGguf(Gguf("llama").Add("llama.attention.sliding_window", Type::kUint32, B::Raw(8u))),
      "sliding-window");
  CheckError(FromGguf(Gguf("llama").Add("split.count", Type::kUint16, B::Raw<uint16_t>(2))),
             "in 2 files");
  CheckError(
      FromGguf(Gguf("llama").Add("tokenizer.ggml.eos_token_id", Type::kUint32, B::Raw(300u))),
      "'tokenizer.ggml.eos_token_id' is 300");
  CheckError(FromGguf(GgufBuilder()), "'general.architecture' is missing");
}

TEST_CASE("GGUF config: end-of-text ids by key and by name") {
  const std::string tokens =
      B::ArrayOf(Type::kString, 4,
                 B::Text("a") + B::Text("<|im_end|>") + B::Text("<|eot_id|>") + B::Text("b"));
  const std::string types =
      B::ArrayOf(Type::kInt32, 4, B::Raw(1) + B::Raw(3) + B::Raw(1) + B::Raw(1));
  auto config = FromGguf(Gguf("qwen2")
                             .Add("tokenizer.ggml.tokens", Type::kArray, tokens)
                             .Add("tokenizer.ggml.token_type", Type::kArray, types)
                             .Add("tokenizer.ggml.eos_token_id", Type::kUint32, B::Raw(3u)));
  REQUIRE(config.ok());
  CHECK(config->eos_ids == std::vector<int32_t>{1, 3});  // <|eot_id|> is an ordinary token here
}

}  // namespace
}  // namespace lynx
