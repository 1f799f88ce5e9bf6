// Compiled with AVX-512 F, BW, VL and DQ. See simd.h for what such a file may not do.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kv_tiers.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/tiers.h"
#include "kernels/kv_pages.h"

namespace lynx {

const Kernels& Avx512Kernels() {
  static constexpr Kernels kTable = [] {
    Kernels table{};
    table.name = "avx512";
    table.gemm = Gemm;
    table.rms_norm = RmsNorm;
    table.silu_mul = SiluMul;
    table.gelu_mul = GeluMul;
    table.rope = Rope;
    table.widen = Widen;
    table.argmax = Argmax;
    table.write_kv = WriteKv;
    table.split_page = SplitPageAvx512;
    table.tail_encode = TailEncodeAvx512;
    table.tail_decode = TailDecodeAvx512;
    table.attend = AttendAvx512;
    return table;
  }();
  return kTable;
}

}  // namespace lynx
