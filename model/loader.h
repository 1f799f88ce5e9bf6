// Loads a model: a GGUF file or a Hugging Face folder, told apart by content.
#pragma once

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "model/gguf.h"
#include "model/model_config.h"
#include "model/safetensors.h"
#include "model/tensor_source.h"
#include "model/weights.h"
#include "model/weights_out.h"
#include "runtime/status.h"
#include "runtime/work_progress.h"

namespace lynx {

// What tokenizer and chat template are made from. Exactly one of the two is set.
struct ModelFiles {
  std::unique_ptr<const GgufFile> gguf;
  std::string
      folder;  // holds tokenizer.json, tokenizer_config.json and perhaps chat_template.jinja
};

struct ModelMetadata {
  ModelConfig config;
  ModelFiles files;
};

struct LoadedModel {
  ModelConfig config;
  ModelFiles files;
  Weights weights;
};

// The tensors of an opened file, as LoadWeights takes them. The file outlives the source.
TensorSource SourceFromGguf(const GgufFile& file, const ModelConfig& config);
TensorSource SourceFromSafetensors(const SafetensorsMap& tensors, const ModelConfig& config);

// Config and metadata only: milliseconds, whatever the model's size. Of an HF folder only the JSON
// files are read.
absl::StatusOr<ModelMetadata> LoadModelMetadata(const std::string& path);

// The whole model, by `threads` threads. Takes seconds and as much memory as the weights in BF16;
// the file's own pages are let go. Errors name the path and what is wrong or not supported.
// `progress`, if there is one, counts the values that were read.
absl::StatusOr<LoadedModel> LoadModel(const std::string& path, int threads = 1,
                                      WorkProgress* progress = nullptr);

// Takes a model's weights: calls `feed` once, whose error it returns.
using TakeWeights = absl::FunctionRef<absl::Status(const ModelConfig& config, FeedWeights feed)>;

// The same, but for the weights: `take` gets them, from the mapped file, so that the host never
// holds all of them. LoadedModel::weights holds nothing but their hash. An error may be take's.
absl::StatusOr<LoadedModel> LoadModelInto(const std::string& path, int threads, TakeWeights take,
                                          WorkProgress* progress = nullptr);

}  // namespace lynx
