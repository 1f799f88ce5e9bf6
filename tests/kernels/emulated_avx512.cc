// The AVX-512 tier over emulated intrinsics (all_tiers.h), beside the true one in the same program.
#define LYNX_EMULATE_AVX512
#include "tests/kernels/avx512_emulation.h"

#define Avx512Kernels EmulatedAvx512Kernels
#define AttendAvx512 EmulatedAttendAvx512
#define SplitPageAvx512 EmulatedSplitPageAvx512
#define TailEncodeAvx512 EmulatedTailEncodeAvx512
#define TailDecodeAvx512 EmulatedTailDecodeAvx512

#include "kernels/cpu/kv_avx512.cc"
#include "kernels/cpu/tier_avx512.cc"
