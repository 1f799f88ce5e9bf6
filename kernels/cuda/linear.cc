#include "kernels/cuda/linear.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/linear_check.h"
#include "runtime/cuda/cuda_status.h"
#include "runtime/log.h"

namespace lynx::cuda {
namespace {

// Changes with the order of summation in gemm.h.
constexpr const char* kOwnOrder = "own1";
// Columns that our own product is checked with: every tile of columns runs the same code.
constexpr int64_t kOwnCheckColumns = 72;
constexpr int64_t kDecodeCheckRows = 130;

bool IsAligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

LinearShape ShapeOf(const LinearWeight& weight) {
  return {.n = weight.n, .k = weight.k, .bias = weight.bias != nullptr};
}

absl::Status ValidateWeight(const LinearWeight& weight) {
  if (weight.n <= 0 || weight.k <= 0 || weight.k % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("weights [", weight.n, ", ", weight.k,
                     "]: outputs must be positive, inputs a positive multiple of 16"));
  }
  if (weight.w == nullptr || !IsAligned(weight.w) || !IsAligned(weight.bias)) {
    return absl::InvalidArgumentError("weights and bias must lie on 16 bytes of device memory");
  }
  return absl::OkStatus();
}

absl::Status RunOwn(const LinearWeight& weight, const LinearArgs& args, cudaStream_t stream) {
  const cudaError_t error = Gemm({.a = args.a,
                                  .lda = args.lda,
                                  .w = weight.w,
                                  .c = args.c,
                                  .ldc = args.ldc,
                                  .bias = weight.bias,
                                  .accumulate = args.accumulate,
                                  .m = args.m,
                                  .n = weight.n,
                                  .k = weight.k},
                                 stream);
  return ToStatus(error, "a linear layer's product");
}

absl::Status RunPinned(const CublasLtGemm& pinned, const LinearWeight& weight,
                       const LinearArgs& args, cudaStream_t stream) {
  if (args.m == 0) return absl::OkStatus();
  return pinned.Run({.a = args.a,
                     .lda = args.lda,
                     .w = weight.w,
                     .c = args.c,
                     .ldc = args.ldc,
                     .bias = weight.bias,
                     .accumulate = args.accumulate,
                     .m = args.m},
                    stream);
}

// Whether it is worth while to look at another algorithm.
bool IsRefusal(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsUnimplemented(status);
}

std::string NameOf(const std::unique_ptr<const CublasLtGemm>& pinned) {
  return pinned != nullptr ? pinned->id() : kOwnOrder;
}

absl::Status CheckOwn(LinearWeight weight, cudaStream_t stream) {
  weight.n = std::min(weight.n, kOwnCheckColumns);
  return CheckStable([&](const LinearArgs& args) { return RunOwn(weight, args, stream); }, weight.n,
                     weight.k, kDecodeCheckRows, DecodeBatches(), stream);
}

absl::Status CheckPinned(const CublasLtGemm& pinned, LinearPhase phase, int64_t prefill_rows,
                         const LinearWeight& weight, cudaStream_t stream) {
  const bool decode = phase == LinearPhase::kDecode;
  return CheckStable(
      [&](const LinearArgs& args) { return RunPinned(pinned, weight, args, stream); }, weight.n,
      weight.k, decode ? kDecodeCheckRows : prefill_rows,
      decode ? DecodeBatches() : PrefillBatches(prefill_rows), stream);
}

}  // namespace

absl::Status Linear::Run(LinearPhase phase, const LinearArgs& args, cudaStream_t stream) const {
  const auto& pinned = phase == LinearPhase::kDecode ? plan_->decode : plan_->prefill;
  return pinned != nullptr ? RunPinned(*pinned, weight_, args, stream)
                           : RunOwn(weight_, args, stream);
}

absl::StatusOr<std::unique_ptr<LinearPlans>> LinearPlans::Create(const LinearPolicy& policy) {
  if (policy.decode_rows <= 0 || policy.prefill_rows <= 0) {
    return absl::InvalidArgumentError("a step of linear layers must have rows");
  }
  std::unique_ptr<LinearPlans> plans(new LinearPlans(policy));
  if (policy.cublaslt_in_decode || policy.cublaslt_in_prefill) {
    ASSIGN_OR_RETURN(plans->cublaslt_, CublasLt::Create(policy.workspace_bytes));
  }
  return plans;
}

absl::StatusOr<Linear> LinearPlans::Add(const LinearWeight& weight, cudaStream_t stream) {
  RETURN_IF_ERROR(ValidateWeight(weight));
  auto plan = plans_.find(ShapeOf(weight));
  if (plan == plans_.end()) {
    ASSIGN_OR_RETURN(LinearPlan chosen, Choose(weight, stream));
    plan = plans_.emplace(ShapeOf(weight), std::move(chosen)).first;
  }
  return Linear(weight, &plan->second);
}

absl::StatusOr<LinearPlan> LinearPlans::Choose(const LinearWeight& weight,
                                               cudaStream_t stream) const {
  LinearPlan plan;
  ASSIGN_OR_RETURN(plan.decode, Pin(LinearPhase::kDecode, weight, stream));
  ASSIGN_OR_RETURN(plan.prefill, Pin(LinearPhase::kPrefill, weight, stream));
  const bool own = plan.decode == nullptr || plan.prefill == nullptr;
  if (own && policy_.check) RETURN_IF_ERROR(CheckOwn(weight, stream));
  spdlog::info("linear n={} k={} decode={} prefill={}", weight.n, weight.k, NameOf(plan.decode),
               NameOf(plan.prefill));
  return plan;
}

absl::StatusOr<LinearPlans::Pinned> LinearPlans::Pin(LinearPhase phase, const LinearWeight& weight,
                                                     cudaStream_t stream) const {
  const bool decode = phase == LinearPhase::kDecode;
  const bool wanted = decode ? policy_.cublaslt_in_decode : policy_.cublaslt_in_prefill;
  if (!wanted || weight.n % 4 != 0) return nullptr;
  ASSIGN_OR_RETURN(std::vector<CublasLtGemm> suggestions,
                   CublasLtGemm::Suggestions(
                       *cublaslt_, {.n = weight.n, .k = weight.k, .bias = weight.bias != nullptr},
                       decode ? policy_.decode_rows : policy_.prefill_rows));
  for (CublasLtGemm& suggestion : suggestions) {
    absl::Status status;
    if (policy_.check) {
      status = CheckPinned(suggestion, phase, policy_.prefill_rows, weight, stream);
    }
    if (status.ok()) return std::make_unique<const CublasLtGemm>(std::move(suggestion));
    if (!IsRefusal(status)) return status;
    spdlog::warn("linear algorithm={} refused: {}", suggestion.id(), status.ToString());
  }
  return nullptr;
}

std::string LinearPlans::Identity() const {
  std::string identity = cublaslt_ == nullptr ? "" : absl::StrCat("cublaslt", cublasLtGetVersion());
  for (const auto& [shape, plan] : plans_) {
    absl::StrAppend(&identity, identity.empty() ? "" : ",", shape.n, "x", shape.k,
                    shape.bias ? "b:" : ":", NameOf(plan.decode), "/", NameOf(plan.prefill));
  }
  return identity;
}

}  // namespace lynx::cuda
