#include "model/dequantize.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace lynx {
namespace {

struct Golden {
  std::vector<std::byte> data;
  std::vector<float> values;
};

Golden ReadGolden(const std::string& type) {
  std::ifstream in(LYNX_TEST_DATA "/dequantize/" + type + ".bin", std::ios::binary);
  uint32_t sizes[2] = {};
  in.read(reinterpret_cast<char*>(sizes), sizeof(sizes));
  Golden golden;
  golden.values.resize(sizes[0]);
  golden.data.resize(sizes[1]);
  in.read(reinterpret_cast<char*>(golden.data.data()), static_cast<std::streamsize>(sizes[1]));
  in.read(reinterpret_cast<char*>(golden.values.data()),
          static_cast<std::streamsize>(sizes[0] * sizeof(float)));
  REQUIRE(in.good());
  return golden;
}

const std::pair<const char*, GgmlType> kTypes[] = {
    {"F32", GgmlType::kF32},   {"F16", GgmlType::kF16},   {"BF16", GgmlType::kBF16},
    {"Q4_0", GgmlType::kQ4_0}, {"Q4_1", GgmlType::kQ4_1}, {"Q5_0", GgmlType::kQ5_0},
    {"Q5_1", GgmlType::kQ5_1}, {"Q8_0", GgmlType::kQ8_0}, {"Q4_K", GgmlType::kQ4_K},
    {"Q5_K", GgmlType::kQ5_K}, {"Q6_K", GgmlType::kQ6_K},
};

TEST_CASE("dequantize: the same bits as another implementation") {
  for (const auto& [name, type] : kTypes) {
    CAPTURE(name);
    const Golden golden = ReadGolden(name);
    REQUIRE(CanDequantize(type));
    CHECK(FindGgmlType(type)->name == name);
    std::vector<float> floats(golden.values.size());
    DequantizeToFloat(type, golden.data, floats);
    std::vector<bf16> rounded(floats.size());
    const size_t changed = DequantizeToBf16(type, golden.data, rounded);
    size_t wrong = 0, wrong_bf16 = 0, inexact = 0;
    for (size_t i = 0; i < floats.size(); ++i) {
      wrong += std::bit_cast<uint32_t>(floats[i]) != std::bit_cast<uint32_t>(golden.values[i]);
      wrong_bf16 += !(rounded[i] == ToBf16(golden.values[i]));
      inexact += ToFloat(rounded[i]) != golden.values[i];
    }
    CHECK(wrong == 0);
    CHECK(wrong_bf16 == 0);
    CHECK(changed == inexact);
    CHECK((changed == 0) == (type == GgmlType::kBF16));
  }
}

TEST_CASE("dequantize: long rows are the same as short ones") {
  const Golden golden = ReadGolden("Q6_K");
  std::vector<std::byte> data;
  std::vector<float> wanted;
  for (int i = 0; i < 7; ++i) {  // 10752 values: more than two of the inner chunks
    data.insert(data.end(), golden.data.begin(), golden.data.end());
    wanted.insert(wanted.end(), golden.values.begin(), golden.values.end());
  }
  std::vector<bf16> out(wanted.size());
  DequantizeToBf16(GgmlType::kQ6_K, data, out);
  for (size_t i = 0; i < out.size(); ++i) REQUIRE(out[i] == ToBf16(wanted[i]));
}

TEST_CASE("dequantize: every half-precision number") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>((bits >> 10) & 31);
    const int mantissa = static_cast<int>(bits & 0x3ff);
    const float value = HalfToFloat(static_cast<uint16_t>(bits));
    if (exponent == 31) {
      REQUIRE((mantissa == 0 ? std::isinf(value) : std::isnan(value)));
    } else {
      const double wanted =
          exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      REQUIRE(std::fabs(static_cast<double>(value)) == wanted);
    }
    REQUIRE(std::signbit(value) == ((bits >> 15) != 0));
  }
}

TEST_CASE("dequantize: types that are not converted") {
  CHECK_FALSE(CanDequantize(static_cast<GgmlType>(16)));
  CHECK(FindGgmlType(static_cast<GgmlType>(16))->name == "IQ2_XXS");
  CHECK(FindGgmlType(static_cast<GgmlType>(4)) == nullptr);
}

}  // namespace
}  // namespace lynx
