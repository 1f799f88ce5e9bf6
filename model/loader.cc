#include "model/loader.h"

#include <filesystem>
#include <utility>

#include "model/gguf_config.h"

namespace lynx {

namespace {

namespace fs = std::filesystem;

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

TensorSource GgufSource(const GgufFile& file, const ModelConfig& config) {
  TensorSource source;
  source.names = &kGgufTensorNames;
  source.interleaved_rope = config.architecture == Architecture::kLlama;
  source.ignored.insert("rope_freqs.weight");  // part of the config
  for (const ModelTensor& tensor : file.tensors()) source.tensors.emplace(tensor.name, &tensor);
  return source;
}

absl::StatusOr<LoadedModel> LoadGguf(const std::string& path) {
  ASSIGN_OR_RETURN(ModelMetadata metadata, GgufMetadata(path));
  const GgufFile& file = *metadata.files.gguf;
  auto weights = LoadWeights(metadata.config, GgufSource(file, metadata.config));
  if (!weights.ok()) return Annotate(weights.status(), path);
  file.ReleasePages();
  return LoadedModel{std::move(metadata.config), std::move(metadata.files), *std::move(weights)};
}

}  // namespace

absl::StatusOr<ModelMetadata> LoadModelMetadata(const std::string& path) {
  return GgufMetadata(path);
}

absl::StatusOr<LoadedModel> LoadModel(const std::string& path) { return LoadGguf(path); }

}  // namespace lynx
