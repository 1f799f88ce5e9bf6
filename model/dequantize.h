// GGUF tensor data to numbers: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K.
//
// Every value is the float32 that the format's reference arithmetic gives (multiply, then add or
// subtract, each rounded once), so results are the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/tensor.h"
#include "runtime/bf16.h"

namespace lynx {

bool CanDequantize(GgmlType type);

// `data` holds exactly out.size() values in whole blocks. CanDequantize(type).
void DequantizeToFloat(GgmlType type, std::span<const std::byte> data, std::span<float> out);

// The same, rounded to BF16 (to nearest, ties to even). Returns how many values changed.
size_t DequantizeToBf16(GgmlType type, std::span<const std::byte> data, std::span<bf16> out);

// IEEE half precision to float32, exactly; denormals, infinities and NaN too.
float HalfToFloat(uint16_t bits);

}  // namespace lynx
