#include "proto/engine_server.h"

#include "model/cpu_backend.h"
#include "proto/identity.h"
#include "transfer/ticket.h"

namespace lynx {

namespace {

// On a GPU the weights go there alone.
absl::StatusOr<LoadedModel> LoadFor(const EngineServerOptions& options,
                                    std::unique_ptr<Backend>* gpu) {
  if (options.device.name == kCpuDevice) {
    return LoadModel(options.model, options.threads, options.load_progress);
  }
  const auto take = [&](const ModelConfig& config, FeedWeights feed) -> absl::Status {
    ASSIGN_OR_RETURN(*gpu, OpenGpu(options.device, config, feed));
    return absl::OkStatus();
  };
  return LoadModelInto(options.model, options.threads, take, options.load_progress);
}

}  // namespace

absl::StatusOr<ServedModel> LoadServedModel(const EngineServerOptions& options, const char* role,
                                            KvTarget target, int64_t max_context) {
  const Kernels* kernels = SelectKernels();
  if (kernels == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  std::unique_ptr<Backend> gpu;
  ASSIGN_OR_RETURN(LoadedModel model, LoadFor(options, &gpu));
  v1::ServerInfo info;
  *info.mutable_identity() =
      MakeIdentity(model.config, model.weights.hash, target, options.device.name,
                   gpu != nullptr ? gpu->arithmetic() : std::string());
  info.set_role(role);
  info.set_incarnation(RandomIncarnation());
  info.set_model_name(model.config.name);
  info.set_max_context(max_context > 0 ? max_context : model.config.max_context);
  spdlog::info("model_loaded model={} device={} kernels={} threads={} identity={}", options.model,
               options.device.name, kernels->name, options.threads, ToString(info.identity()));
  return ServedModel{std::move(model), *kernels, std::move(info), std::move(gpu)};
}

std::unique_ptr<Backend> ServedModel::TakeBackend(ThreadPool& pool) {
  if (gpu != nullptr) return std::move(gpu);
  return std::make_unique<CpuBackend>(model.config, model.weights, kernels, pool);
}

}  // namespace lynx
