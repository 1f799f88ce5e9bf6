#include "kernels/cuda/cublaslt_gemm.h"

#include <array>
#include <utility>

namespace lynx::cuda {
namespace {

constexpr int kSuggestionsMax = 16;
constexpr uint32_t kAlignment = 16;  // bytes, of every operand and of its rows

absl::StatusCode CodeOf(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_ALLOC_FAILED:
      return absl::StatusCode::kResourceExhausted;
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return absl::StatusCode::kUnimplemented;
    case CUBLAS_STATUS_INVALID_VALUE:
      return absl::StatusCode::kInvalidArgument;
    case CUBLAS_STATUS_NOT_INITIALIZED:
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status ToStatus(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::Status(CodeOf(status), absl::StrCat(what, ": ", cublasLtGetStatusString(status)));
}

// What a product is, in the library's words. It counts by columns, so our row-major c = a w^T is
// its c^T [n, m] = w [k, n]^T a [k, m].
struct Problem {
  cublasLtMatmulDescOpaque_t desc;
  cublasLtMatrixLayoutOpaque_t w, a, c;
};

absl::Status Set(cublasLtMatmulDescOpaque_t& desc, cublasLtMatmulDescAttributes_t attribute,
                 const auto& value) {
  return ToStatus(cublasLtMatmulDescSetAttribute(&desc, attribute, &value, sizeof(value)),
                  "cuBLASLt's description of a product");
}

absl::Status DescribeOperation(const float* bias, cublasLtMatmulDescOpaque_t& desc) {
  RETURN_IF_ERROR(ToStatus(cublasLtMatmulDescInit(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                           "cuBLASLt's description of a product"));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  RETURN_IF_ERROR(Set(desc, CUBLASLT_MATMUL_DESC_TRANSA, transposed));
  if (bias == nullptr) return absl::OkStatus();
  const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  RETURN_IF_ERROR(Set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue));
  return Set(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
}

absl::Status DescribeMatrix(cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride,
                            cublasLtMatrixLayoutOpaque_t& layout) {
  return ToStatus(cublasLtMatrixLayoutInit(&layout, type, static_cast<uint64_t>(rows),
                                           static_cast<uint64_t>(columns), stride),
                  "cuBLASLt's layout of a matrix");
}

absl::Status Describe(const CublasLtShape& shape, const CublasLtArgs& args, Problem& problem) {
  RETURN_IF_ERROR(DescribeOperation(args.bias, problem.desc));
  RETURN_IF_ERROR(DescribeMatrix(CUDA_R_16BF, shape.k, shape.n, shape.k, problem.w));
  RETURN_IF_ERROR(DescribeMatrix(CUDA_R_16BF, shape.k, args.m, args.lda, problem.a));
  return DescribeMatrix(CUDA_R_32F, shape.n, args.m, args.ldc, problem.c);
}

absl::Status DescribePreference(size_t workspace_bytes,
                                cublasLtMatmulPreferenceOpaque_t& preference) {
  constexpr const char* kWhat = "cuBLASLt's preferences";
  RETURN_IF_ERROR(ToStatus(cublasLtMatmulPreferenceInit(&preference), kWhat));
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    return ToStatus(
        cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)), kWhat);
  };
  const uint64_t workspace = workspace_bytes;
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace));
  // Splits of k follow m, and some add up in the order in which blocks come.
  const uint32_t one_sequence = CUBLASLT_REDUCTION_SCHEME_NONE;
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, one_sequence));
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    RETURN_IF_ERROR(set(attribute, kAlignment));
  }
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<T> Config(const cublasLtMatmulAlgo_t& algorithm,
                         cublasLtMatmulAlgoConfigAttributes_t attribute) {
  T value = {};
  size_t written = 0;
  RETURN_IF_ERROR(ToStatus(
      cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof(value), &written),
      "the configuration of cuBLASLt's algorithm"));
  return value;
}

absl::StatusOr<bool> SplitsK(const cublasLtMatmulAlgo_t& algorithm) {
  ASSIGN_OR_RETURN(const int32_t parts,
                   Config<int32_t>(algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM));
  ASSIGN_OR_RETURN(const uint32_t scheme,
                   Config<uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME));
  return parts > 1 || scheme != CUBLASLT_REDUCTION_SCHEME_NONE;
}

absl::StatusOr<std::string> NameOf(const cublasLtMatmulAlgo_t& algorithm) {
  ASSIGN_OR_RETURN(const int32_t id, Config<int32_t>(algorithm, CUBLASLT_ALGO_CONFIG_ID));
  std::string name = absl::StrCat("lt", id);
  for (const auto attribute :
       {CUBLASLT_ALGO_CONFIG_TILE_ID, CUBLASLT_ALGO_CONFIG_STAGES_ID,
        CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING}) {
    ASSIGN_OR_RETURN(const uint32_t value, Config<uint32_t>(algorithm, attribute));
    absl::StrAppend(&name, ".", value);
  }
  for (const auto attribute :
       {CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID}) {
    ASSIGN_OR_RETURN(const uint16_t value, Config<uint16_t>(algorithm, attribute));
    absl::StrAppend(&name, ".", value);
  }
  return name;
}

using Results = std::array<cublasLtMatmulHeuristicResult_t, kSuggestionsMax>;

// How many results there are; 0 where the library has nothing for this product.
absl::StatusOr<int> AskHeuristic(const CublasLt& cublaslt, Problem& problem, Results& results) {
  cublasLtMatmulPreferenceOpaque_t preference;
  RETURN_IF_ERROR(DescribePreference(cublaslt.workspace_bytes(), preference));
  int count = 0;
  const absl::Status status =
      ToStatus(cublasLtMatmulAlgoGetHeuristic(cublaslt.handle(), &problem.desc, &problem.w,
                                              &problem.a, &problem.c, &problem.c, &preference,
                                              kSuggestionsMax, results.data(), &count),
               "cuBLASLt's suggestions");
  if (absl::IsUnimplemented(status)) return 0;
  RETURN_IF_ERROR(status);
  return count;
}

// The library looks at a bias' address for its alignment only.
const float* AlignedPlaceholder() {
  return reinterpret_cast<const float*>(static_cast<uintptr_t>(kAlignment));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CublasLt>> CublasLt::Create(size_t workspace_bytes) {
  std::unique_ptr<CublasLt> made(new CublasLt);
  cublasLtHandle_t handle = nullptr;
  RETURN_IF_ERROR(ToStatus(cublasLtCreate(&handle), "cannot start cuBLASLt"));
  made->handle_.reset(handle);
  ASSIGN_OR_RETURN(made->workspace_, DeviceBuffer<std::byte>::Create(workspace_bytes));
  return made;
}

absl::StatusOr<std::vector<CublasLtGemm>> CublasLtGemm::Suggestions(const CublasLt& cublaslt,
                                                                    const CublasLtShape& shape,
                                                                    int64_t rows) {
  CublasLtArgs args{.lda = shape.k, .ldc = shape.n, .m = rows};
  if (shape.bias) args.bias = AlignedPlaceholder();
  Problem problem;
  RETURN_IF_ERROR(Describe(shape, args, problem));
  Results results;
  ASSIGN_OR_RETURN(const int count, AskHeuristic(cublaslt, problem, results));
  std::vector<CublasLtGemm> found;
  for (int i = 0; i < count; ++i) {
    const cublasLtMatmulHeuristicResult_t& result = results[static_cast<size_t>(i)];
    if (result.state != CUBLAS_STATUS_SUCCESS) continue;
    if (result.workspaceSize > cublaslt.workspace_bytes()) continue;
    ASSIGN_OR_RETURN(const bool splits, SplitsK(result.algo));
    if (splits) continue;
    ASSIGN_OR_RETURN(std::string name, NameOf(result.algo));
    found.push_back(CublasLtGemm(cublaslt, shape, result.algo, std::move(name)));
  }
  return found;
}

absl::Status CublasLtGemm::Run(const CublasLtArgs& args, cudaStream_t stream) const {
  if ((args.bias != nullptr) != shape_.bias) {
    return absl::InvalidArgumentError("a cuBLASLt product was chosen for another kind of bias");
  }
  Problem problem;
  RETURN_IF_ERROR(Describe(shape_, args, problem));
  const float alpha = 1, beta = args.accumulate ? 1 : 0;
  return ToStatus(
      cublasLtMatmul(cublaslt_->handle(), &problem.desc, &alpha, args.w, &problem.w, args.a,
                     &problem.a, &beta, args.c, &problem.c, args.c, &problem.c, &algorithm_,
                     cublaslt_->workspace(), cublaslt_->workspace_bytes(), stream),
      "cuBLASLt's product");
}

}  // namespace lynx::cuda
