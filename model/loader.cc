#include "model/loader.h"

#include <filesystem>
#include <utility>

#include "model/gguf_config.h"
#include "model/hf_config.h"
#include "model/weights_reader.h"

namespace lynx {

namespace {

namespace fs = std::filesystem;

using ReadSource = absl::FunctionRef<absl::StatusOr<Weights>(const ModelConfig&, TensorSource)>;

absl::StatusOr<ModelMetadata> GgufMetadata(const std::string& path) {
  ASSIGN_OR_RETURN(GgufFile file, GgufFile::Open(path));
  ModelMetadata model;
  auto config = ConfigFromGguf(file);
  if (!config.ok()) return Annotate(config.status(), path);
  model.config = *std::move(config);
  if (model.config.name.empty()) model.config.name = fs::path(path).stem().string();
  model.files.gguf = std::make_unique<const GgufFile>(std::move(file));
  return model;
}

absl::StatusOr<LoadedModel> LoadGguf(const std::string& path, ReadSource read) {
  ASSIGN_OR_RETURN(ModelMetadata metadata, GgufMetadata(path));
  const GgufFile& file = *metadata.files.gguf;
  auto weights = read(metadata.config, SourceFromGguf(file, metadata.config));
  if (!weights.ok()) return Annotate(weights.status(), path);
  file.ReleasePages();
  return LoadedModel{std::move(metadata.config), std::move(metadata.files), *std::move(weights)};
}

absl::StatusOr<ModelMetadata> HfMetadata(const std::string& folder) {
  ModelMetadata model;
  ASSIGN_OR_RETURN(model.config, ConfigFromHfFolder(folder));
  model.files.folder = folder;
  return model;
}

absl::StatusOr<LoadedModel> LoadHf(const std::string& path, ReadSource read) {
  ASSIGN_OR_RETURN(ModelMetadata metadata, HfMetadata(path));
  ASSIGN_OR_RETURN(SafetensorsFolder folder, SafetensorsFolder::Open(path));
  auto weights = read(metadata.config, SourceFromSafetensors(folder.tensors(), metadata.config));
  if (!weights.ok()) return Annotate(weights.status(), path);
  return LoadedModel{std::move(metadata.config), std::move(metadata.files), *std::move(weights)};
}

bool IsFolder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

}  // namespace

TensorSource SourceFromGguf(const GgufFile& file, const ModelConfig& config) {
  TensorSource source;
  source.names = &kGgufTensorNames;
  source.interleaved_rope = config.architecture == Architecture::kLlama;
  source.ignored.insert("rope_freqs.weight");  // part of the config
  for (const ModelTensor& tensor : file.tensors()) source.tensors.emplace(tensor.name, &tensor);
  return source;
}

TensorSource SourceFromSafetensors(const SafetensorsMap& tensors, const ModelConfig& config) {
  TensorSource source;
  source.names = &kHfTensorNames;
  // Some checkpoints hold a head that the config says is the embedding, or what old code kept
  // beside the weights.
  if (config.tied_embeddings) source.ignored.insert(std::string(kHfTensorNames.lm_head));
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    source.ignored.insert(absl::StrCat("model.layers.", layer, ".self_attn.rotary_emb.inv_freq"));
  }
  for (const auto& [name, tensor] : tensors) source.tensors.emplace(name, &tensor);
  return source;
}

absl::StatusOr<ModelMetadata> LoadModelMetadata(const std::string& path) {
  return IsFolder(path) ? HfMetadata(path) : GgufMetadata(path);
}

absl::StatusOr<LoadedModel> LoadModel(const std::string& path, int threads,
                                      WorkProgress* progress) {
  const auto read = [&](const ModelConfig& config, TensorSource source) {
    source.progress = progress;
    return LoadWeights(config, source, threads);
  };
  return IsFolder(path) ? LoadHf(path, read) : LoadGguf(path, read);
}

absl::StatusOr<LoadedModel> LoadModelInto(const std::string& path, int threads, TakeWeights take,
                                          WorkProgress* progress) {
  const auto read = [&](const ModelConfig& config, TensorSource source) -> absl::StatusOr<Weights> {
    source.progress = progress;
    Weights hash_only;
    const auto feed = [&](WeightsOut& out) -> absl::Status {
      ASSIGN_OR_RETURN(hash_only.hash, ReadWeights(config, source, threads, out));
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(take(config, feed));
    return hash_only;
  };
  return IsFolder(path) ? LoadHf(path, read) : LoadGguf(path, read);
}

}  // namespace lynx
