// Compiled with AVX2 and FMA. See simd.h for what such a file may not do.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kv_tiers.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/tiers.h"
#include "kernels/kv_pages.h"

namespace lynx {

const Kernels& Avx2Kernels() {
  static constexpr Kernels kTable = [] {
    Kernels table{};
    table.name = "avx2";
    table.gemm = Gemm;
    table.rms_norm = RmsNorm;
    table.silu_mul = SiluMul;
    table.gelu_mul = GeluMul;
    table.rope = Rope;
    table.widen = Widen;
    table.argmax = Argmax;
    table.write_kv = WriteKv;
    table.split_page = SplitPageAvx2;
    table.tail_encode = TailEncodeAvx2;
    table.tail_decode = TailDecodeAvx2;
    table.attend = AttendAvx2;
    return table;
  }();
  return kTable;
}

}  // namespace lynx
