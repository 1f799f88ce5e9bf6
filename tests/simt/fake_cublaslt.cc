#include "fake_cublaslt.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "fake_cuda.h"

namespace simt::fake_cublaslt {
namespace {

// What the library's opaque structures hold.
struct Layout {
  static constexpr uint64_t kMagic = 0x6c61796f7574;
  uint64_t magic = kMagic;
  cudaDataType_t type = CUDA_R_32F;
  uint64_t rows = 0, columns = 0;
  int64_t stride = 0;  // of a column, in elements
};
struct Description {
  static constexpr uint64_t kMagic = 0x6d61746d756c;
  uint64_t magic = kMagic;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType_t scale = CUDA_R_32F;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const float* bias = nullptr;
};
struct Preference {
  static constexpr uint64_t kMagic = 0x70726566;
  uint64_t magic = kMagic;
  uint64_t workspace_bytes = 0;
  uint32_t reduction_mask = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::array<uint32_t, 4> alignment = {256, 256, 256, 256};  // A, B, C, D
};
struct Algorithm {
  static constexpr uint64_t kMagic = 0x616c676f;
  uint64_t magic = kMagic;
  int32_t id = 0;
  int32_t split_k = 1;
  uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
  uint32_t lanes = 0;  // that a sum is spread over
  size_t workspace_bytes = 0;
};
constexpr std::array<Algorithm, 4> kAlgorithms = {{
    {.id = 1, .split_k = 4, .reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, .lanes = 2},
    {.id = 2, .lanes = 16, .workspace_bytes = kWorkspaceBytes},
    {.id = 3, .lanes = 8},
    {.id = 4, .lanes = 4},
}};

template <typename T, typename Opaque>
void Put(const T& value, Opaque* opaque) {
  static_assert(sizeof(T) <= sizeof(Opaque) && std::is_trivially_copyable_v<T>);
  std::memcpy(opaque, &value, sizeof(T));
}
// False if the structure was never initialised.
template <typename T, typename Opaque>
bool Get(const Opaque* opaque, T& value) {
  if (opaque == nullptr) return false;
  std::memcpy(static_cast<void*>(&value), opaque, sizeof(T));
  return value.magic == T::kMagic;
}

// Sets one attribute whose storage is `field`.
template <typename Field>
cublasStatus_t Store(const void* buffer, size_t bytes, Field& field) {
  if (buffer == nullptr || bytes != sizeof(Field)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&field, buffer, sizeof(Field));
  return CUBLAS_STATUS_SUCCESS;
}

// One product as it is queued: c[i, j] of row-major [m, n].
struct Product {
  const uint16_t* w;  // [n, k]
  const uint16_t* a;  // [m, k]
  float* c;
  const float* bias;
  int64_t m, n, k, w_stride, a_stride, c_stride;
  float alpha, beta;
  uint32_t lanes;
  Fault fault;
};

template <int kLanes>
float Dot(const float* a, const float* w, int64_t k) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * w[i + lane];
  }
  for (; i < k; ++i) lanes[i % kLanes] += a[i] * w[i];
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

float DotOf(uint32_t lanes, const float* a, const float* w, int64_t k) {
  switch (lanes) {
    case 16:
      return Dot<16>(a, w, k);
    case 8:
      return Dot<8>(a, w, k);
    case 4:
      return Dot<4>(a, w, k);
    default:
      return Dot<2>(a, w, k);
  }
}

// Lanes for row `row`, as the algorithm's fault has it.
uint32_t LanesOf(const Product& p, int64_t row) {
  const bool other = (p.fault == Fault::kOrderFollowsRows && p.m > 64) ||
                     (p.fault == Fault::kOrderFollowsPlace && row >= p.m / 64 * 64);
  return other ? 2 : p.lanes;
}

std::vector<float> Widen(const uint16_t* rows, int64_t count, int64_t k, int64_t stride) {
  std::vector<float> wide(static_cast<size_t>(count * k));
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t i = 0; i < k; ++i) {
      const uint32_t bits = static_cast<uint32_t>(rows[row * stride + i]) << 16;
      std::memcpy(&wide[static_cast<size_t>(row * k + i)], &bits, sizeof bits);
    }
  }
  return wide;
}

void Compute(const Product& p) {
  const std::vector<float> a = Widen(p.a, p.m, p.k, p.a_stride);
  for (int64_t j = 0; j < p.n; ++j) {
    const std::vector<float> w = Widen(p.w + j * p.w_stride, 1, p.k, p.w_stride);
    for (int64_t i = 0; i < p.m; ++i) {
      float& c = p.c[i * p.c_stride + j];
      float sum = p.alpha * DotOf(LanesOf(p, i), a.data() + i * p.k, w.data(), p.k);
      if (p.beta != 0) sum += p.beta * c;
      c = p.bias != nullptr ? sum + p.bias[j] : sum;
    }
  }
}

constexpr size_t SizeOf(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

bool IsAligned(const void* pointer, const Layout& layout, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0 &&
         static_cast<size_t>(layout.stride) * SizeOf(layout.type) % bytes == 0;
}

// All columns of a matrix are one allocation's.
bool IsOnDevice(const void* pointer, const Layout& layout) {
  const uint64_t last = (layout.columns - 1) * static_cast<uint64_t>(layout.stride) + layout.rows;
  return IsDeviceMemory(pointer, last * SizeOf(layout.type));
}

bool IsMatrix(const Layout& layout, cudaDataType_t type) {
  return layout.type == type && layout.rows > 0 && layout.columns > 0 &&
         layout.stride >= static_cast<int64_t>(layout.rows);
}

// Whether it is what the project asks for: D [n, m] = A [k, n]^T B [k, m], BF16 to float.
bool IsProduct(const Description& desc, const Layout& a, const Layout& b, const Layout& c,
               const Layout& d) {
  const bool same = c.rows == d.rows && c.columns == d.columns && c.stride == d.stride;
  return desc.compute == CUBLAS_COMPUTE_32F && desc.scale == CUDA_R_32F &&
         desc.transpose_a == CUBLAS_OP_T && desc.transpose_b == CUBLAS_OP_N &&
         (desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT || desc.epilogue == CUBLASLT_EPILOGUE_BIAS) &&
         (desc.epilogue == CUBLASLT_EPILOGUE_BIAS) == (desc.bias != nullptr) &&
         IsMatrix(a, CUDA_R_16BF) && IsMatrix(b, CUDA_R_16BF) && IsMatrix(c, CUDA_R_32F) &&
         IsMatrix(d, CUDA_R_32F) && same && a.rows == b.rows && a.columns == d.rows &&
         b.columns == d.columns;
}

bool IsSuggested(const Algorithm& algorithm, const Preference& preference) {
  if (options().ignores_preferences) return true;
  return (algorithm.reduction & ~preference.reduction_mask) == 0 &&
         algorithm.workspace_bytes <= preference.workspace_bytes;
}

struct Descriptions {
  Description desc;
  Layout a, b, c, d;
};
bool Read(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
          cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, Descriptions& out) {
  return Get(desc, out.desc) && Get(a, out.a) && Get(b, out.b) && Get(c, out.c) && Get(d, out.d) &&
         IsProduct(out.desc, out.a, out.b, out.c, out.d);
}

}  // namespace

Options& options() {
  static Options* options = new Options;
  return *options;
}

std::map<int32_t, int64_t>& products() {
  static auto* products = new std::map<int32_t, int64_t>;
  return *products;
}

}  // namespace simt::fake_cublaslt

using namespace simt::fake_cublaslt;

struct cublasLtContext {
  uint64_t magic = 0x68616e646c65;
};

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (options().fails_to_start) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "the functionality requested is not supported";
    default:
      return "an error of the emulated cuBLASLt";
  }
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t size,
                                                 cudaDataType type, uint64_t rows, uint64_t columns,
                                                 int64_t stride) {
  if (layout == nullptr || size != sizeof(*layout)) return CUBLAS_STATUS_INVALID_VALUE;
  Put(Layout{.type = type, .rows = rows, .columns = columns, .stride = stride}, layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t desc, size_t size,
                                               cublasComputeType_t compute, cudaDataType_t scale) {
  if (desc == nullptr || size != sizeof(*desc)) return CUBLAS_STATUS_INVALID_VALUE;
  Put(Description{.compute = compute, .scale = scale}, desc);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* buffer, size_t bytes) {
  Description value;
  if (!Get(desc, value)) return CUBLAS_STATUS_INVALID_VALUE;
  cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;
  if (attribute == CUBLASLT_MATMUL_DESC_TRANSA) {
    status = Store(buffer, bytes, value.transpose_a);
  } else if (attribute == CUBLASLT_MATMUL_DESC_EPILOGUE) {
    status = Store(buffer, bytes, value.epilogue);
  } else if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER) {
    status = Store(buffer, bytes, value.bias);
  }
  Put(value, desc);
  return status;
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference,
                                                     size_t size) {
  if (preference == nullptr || size != sizeof(*preference)) return CUBLAS_STATUS_INVALID_VALUE;
  Put(Preference{}, preference);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* buffer, size_t bytes) {
  Preference value;
  if (!Get(preference, value)) return CUBLAS_STATUS_INVALID_VALUE;
  cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    status = Store(buffer, bytes, value.workspace_bytes);
  } else if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) {
    status = Store(buffer, bytes, value.reduction_mask);
  } else if (attribute >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
             attribute <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) {
    status = Store(buffer, bytes,
                   value.alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES]);
  }
  Put(value, preference);
  return status;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* count) {
  Descriptions read;
  Preference limits;
  if (handle == nullptr || wanted <= 0 || !Read(desc, a, b, c, d, read) ||
      !Get(preference, limits)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  *count = 0;
  // All of them copy 16 bytes at once.
  const uint32_t alignment = *std::min_element(limits.alignment.begin(), limits.alignment.end());
  if (alignment < 16 || !IsAligned(nullptr, read.a, 16) || !IsAligned(nullptr, read.b, 16) ||
      !IsAligned(nullptr, read.d, 16) || !IsAligned(read.desc.bias, read.d, 16)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  for (const Algorithm& algorithm : kAlgorithms) {
    if (*count == wanted || !IsSuggested(algorithm, limits)) continue;
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    result = {};
    Put(algorithm, &result.algo);
    result.workspaceSize = algorithm.workspace_bytes;
    result.state = CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* opaque,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void* buffer, size_t bytes, size_t* written) {
  Algorithm algorithm;
  if (!Get(opaque, algorithm)) return CUBLAS_STATUS_INVALID_VALUE;
  const auto give = [&](auto value) {
    if (buffer == nullptr || bytes != sizeof(value)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(buffer, &value, sizeof(value));
    *written = sizeof(value);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_ID:
      return give(algorithm.id);
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      return give(algorithm.split_k);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      return give(algorithm.reduction);
    case CUBLASLT_ALGO_CONFIG_TILE_ID:
    case CUBLASLT_ALGO_CONFIG_STAGES_ID:
    case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:
    case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:
      return give(uint32_t{0});
    case CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID:
    case CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID:
      return give(uint16_t{0});
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* opaque,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  Descriptions read;
  Algorithm algorithm;
  if (handle == nullptr || !Read(desc, a_layout, b_layout, c_layout, d_layout, read) ||
      !Get(opaque, algorithm) || c != d || workspace_bytes < algorithm.workspace_bytes) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (!IsAligned(a, read.a, 16) || !IsAligned(b, read.b, 16) || !IsAligned(d, read.d, 16) ||
      !IsAligned(read.desc.bias, read.d, 16) || !IsAligned(workspace, read.d, 16)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (!IsOnDevice(a, read.a) || !IsOnDevice(b, read.b) || !IsOnDevice(d, read.d) ||
      (read.desc.bias != nullptr && !simt::IsDeviceMemory(read.desc.bias, read.d.rows * 4)) ||
      (algorithm.workspace_bytes > 0 && !simt::IsDeviceMemory(workspace, workspace_bytes))) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  const auto known = options().faults.find(algorithm.id);
  const Fault fault = known == options().faults.end() ? Fault::kNone : known->second;
  if (fault == Fault::kRefusesFewRows && read.d.columns < 16) return CUBLAS_STATUS_NOT_SUPPORTED;
  ++products()[algorithm.id];
  const Product product{.w = static_cast<const uint16_t*>(a),
                        .a = static_cast<const uint16_t*>(b),
                        .c = static_cast<float*>(d),
                        .bias = read.desc.bias,
                        .m = static_cast<int64_t>(read.d.columns),
                        .n = static_cast<int64_t>(read.d.rows),
                        .k = static_cast<int64_t>(read.a.rows),
                        .w_stride = read.a.stride,
                        .a_stride = read.b.stride,
                        .c_stride = read.d.stride,
                        .alpha = *static_cast<const float*>(alpha),
                        .beta = *static_cast<const float*>(beta),
                        .lanes = algorithm.lanes,
                        .fault = fault};
  const cudaError_t error = simt::Enqueue(stream, [product] { Compute(product); });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
