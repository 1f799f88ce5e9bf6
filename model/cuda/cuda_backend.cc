#include "model/cuda/cuda_backend.h"

#include "model/cuda/cuda_transformer.h"
#include "model/cuda/device_sampler.h"
#include "model/warm_up.h"
#include "runtime/log.h"

namespace lynx::cuda {
namespace {

constexpr int kOldestMajor = 8;  // mma on BF16, cp.async

constexpr size_t kMegabyte = size_t{1} << 20;

absl::StatusOr<cudaDeviceProp> OpenDevice(int device) {
  int count = 0;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceCount(&count), "no GPU can be used"));
  if (device < 0 || device >= count) {
    return absl::FailedPreconditionError(absl::StrCat(
        "there is no GPU ", device, ": this machine has ", count, " (numbered from 0)"));
  }
  cudaDeviceProp properties;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&properties, device), "cannot ask the GPU"));
  if (properties.major < kOldestMajor) {
    return absl::FailedPreconditionError(
        absl::StrCat("GPU ", device, " (", properties.name, ") has compute capability ",
                     properties.major, ".", properties.minor, "; 8.0 or later is needed"));
  }
  RETURN_IF_ERROR(ToStatus(cudaSetDevice(device), "cannot use the GPU"));
  return properties;
}

absl::Status CheckModel(const ModelConfig& config) {
  if (config.head_dim == 64 || config.head_dim == 128 || config.head_dim == 256) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("heads of ", config.head_dim,
                   " dimensions do not run on a GPU (64, 128 and 256 do): use device cpu"));
}

// Blocks that land in wire memory lie apart from their pages.
size_t AsideBytes(const ModelConfig& config, const CudaBackendOptions& options) {
  const size_t page = Bf16PageBytes({.kv_heads = static_cast<int>(config.kv_heads),
                                     .head_dim = static_cast<int>(config.head_dim)});
  return options.wire_bytes > 0 ? page : std::max(page, options.aside_bytes);
}

// Before anything is taken: an error that says all at once.
absl::Status CheckMemory(const ModelConfig& config, const CudaBackendOptions& options) {
  size_t free = 0, total = 0;
  RETURN_IF_ERROR(ToStatus(cudaMemGetInfo(&free, &total), "cannot ask for the GPU's memory"));
  const size_t weights = DeviceWeights::BytesNeeded(config, options.linear);
  const PassLimits limits = PassLimitsOf(config, options.rows_max, options.kv_bytes);
  const size_t passes = CudaTransformer::BytesNeeded(config, limits) +
                        DeviceSampler::BytesNeeded(config, options.rows_max);
  const size_t needed =
      weights + passes + AsideBytes(config, options) + options.kv_bytes + options.channel_bytes;
  if (needed <= free) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("GPU ", options.device, " has ", free / kMegabyte, " MiB of ", total / kMegabyte,
                   " MiB free, and ", needed / kMegabyte, " MiB are needed: ", weights / kMegabyte,
                   " for the weights, ", passes / kMegabyte, " for a pass of ", options.rows_max,
                   " rows, ", options.kv_bytes / kMegabyte, " for KV pages (kv.memory_mib), ",
                   options.channel_bytes / kMegabyte,
                   " for NCCL (transfer.nccl.max_pairs): lower these, or free the GPU"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaBackend>> CudaBackend::Create(
    const ModelConfig& config, const Weights& weights, const CudaBackendOptions& options) {
  const auto feed = [&](WeightsOut& out) { return PutWeights(weights, out); };
  return Create(config, FeedWeights(feed), options);
}

absl::StatusOr<std::unique_ptr<CudaBackend>> CudaBackend::Create(
    const ModelConfig& config, FeedWeights feed, const CudaBackendOptions& options) {
  RETURN_IF_ERROR(CheckModel(config));
  ASSIGN_OR_RETURN(const cudaDeviceProp properties, OpenDevice(options.device));
  RETURN_IF_ERROR(CheckMemory(config, options));
  std::unique_ptr<CudaBackend> backend(new CudaBackend(config, options));
  ASSIGN_OR_RETURN(backend->stream_, NewStream());
  ASSIGN_OR_RETURN(backend->weights_,
                   DeviceWeights::Upload(config, feed, options.linear, backend->stream_.get()));
  ASSIGN_OR_RETURN(backend->pages_, Arena::Create(MemoryKind::kDevice, options.kv_bytes));
  if (options.wire_bytes > 0) {
    ASSIGN_OR_RETURN(backend->wire_, Arena::Create(MemoryKind::kPinned, options.wire_bytes));
  }
  ASSIGN_OR_RETURN(backend->kv_ops_,
                   CudaKvOps::Create(backend->stream_.get(), AsideBytes(config, options)));
  backend->arithmetic_ =
      absl::StrCat("sm_", properties.major, properties.minor, " ", backend->weights_->Identity());
  spdlog::info("event=gpu_opened device={} name={} arithmetic={}", options.device,
               LogValue(properties.name), LogValue(backend->arithmetic_));
  return backend;
}

std::unique_ptr<Transformer> CudaBackend::NewTransformer(int64_t rows_max) {
  Must(cudaSetDevice(options_.device), "cannot use the GPU");  // on the engine's thread
  auto transformer = CudaTransformer::Create(config_, *weights_, stream_.get(),
                                             PassLimitsOf(config_, rows_max, options_.kv_bytes),
                                             options_.graphs_max);
  Must(transformer.status());
  return *std::move(transformer);
}

std::unique_ptr<RowSampler> CudaBackend::NewRowSampler(Transformer& transformer) {
  auto sampler = DeviceSampler::Create(config_, static_cast<CudaTransformer&>(transformer));
  Must(sampler.status());
  if (options_.warm_up) WarmUp(config_, transformer, **sampler, *this);
  return *std::move(sampler);
}

}  // namespace lynx::cuda
