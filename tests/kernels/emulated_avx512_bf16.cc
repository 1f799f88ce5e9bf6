// The AVX-512-BF16 tier over emulated intrinsics (all_tiers.h), beside the true one in the same
// program.
#define LYNX_EMULATE_AVX512
#define LYNX_EMULATE_AVX512_BF16
#include "tests/kernels/avx512_emulation.h"

#define Avx512Bf16Kernels EmulatedAvx512Bf16Kernels
#define AttendAvx512Bf16 EmulatedAttendAvx512Bf16
#define SplitPageAvx512Bf16 EmulatedSplitPageAvx512Bf16
#define TailEncodeAvx512Bf16 EmulatedTailEncodeAvx512Bf16
#define TailDecodeAvx512Bf16 EmulatedTailDecodeAvx512Bf16

#include "kernels/cpu/kv_avx512_bf16.cc"
#include "kernels/cpu/tier_avx512_bf16.cc"
