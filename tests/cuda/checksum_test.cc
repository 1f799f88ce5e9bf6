// The checksum of payloads against one that is taken byte by byte here.
#include "kernels/cuda/checksum.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <random>

#include "kernels/checksum_inl.h"
#include "tests/cuda/device_array.h"
#include "tests/cuda/schedules.h"

namespace lynx::cuda {
namespace {

using testing::DeviceArray;
using testing::ForEachSchedule;

// Written from the definition, with 128-bit arithmetic instead of wrapping.
uint64_t Mixed(uint64_t x) {
  __extension__ using Wide = unsigned __int128;
  x ^= x / (uint64_t{1} << 33);
  x = static_cast<uint64_t>(Wide{x} * 18397679294719823053u);
  x ^= x / (uint64_t{1} << 33);
  x = static_cast<uint64_t>(Wide{x} * 14181476777654086739u);
  return x ^ x / (uint64_t{1} << 33);
}

uint64_t SumOf(const std::vector<std::byte>& bytes, uint64_t first_word) {
  uint64_t sum = 0;
  for (size_t word = 0; 8 * word < bytes.size(); ++word) {
    uint64_t value = 0;
    for (size_t i = 8 * word; i < std::min(bytes.size(), 8 * word + 8); ++i) {
      value += static_cast<uint64_t>(bytes[i]) << (8 * (i % 8));
    }
    uint64_t number = 0;
    for (uint64_t i = 0; i <= first_word + word; ++i) number += 11400714819323198485u;
    sum += Mixed(value ^ number);
  }
  return sum;
}

std::vector<std::byte> RandomBytes(size_t n, std::mt19937& rng) {
  std::vector<std::byte> bytes(n);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng());
  return bytes;
}

// What the device finds for bytes cut into pieces of these lengths, each `shift` bytes off its
// alignment.
uint64_t DeviceSum(const std::vector<std::byte>& bytes, const std::vector<size_t>& cut,
                   int64_t shift, uint64_t first_word = 0) {
  std::vector<DeviceArray<std::byte>> arrays;
  ChecksumParams params{.first_word = first_word};
  size_t at = 0;
  arrays.reserve(cut.size());
  for (const size_t length : cut) {
    auto& array = arrays.emplace_back(static_cast<int64_t>(length), shift);
    if (length > 0) {
      REQUIRE(cudaMemcpyAsync(array.data(), bytes.data() + at, length, cudaMemcpyHostToDevice,
                              nullptr) == cudaSuccess);
    }
    params.pieces[static_cast<size_t>(params.count++)] = {array.data(), length};
    at += length;
  }
  REQUIRE(at == bytes.size());
  DeviceArray<uint64_t> sum(std::vector<uint64_t>{0});
  params.sum = sum.data();
  REQUIRE(AddChecksum(params, nullptr) == cudaSuccess);
  return sum.Read().front();
}

TEST_CASE("a checksum is that of its definition, however the bytes lie") {
  std::mt19937 rng(1);
  for (const size_t n : {0u, 1u, 7u, 8u, 9u, 2047u, 2048u, 70001u}) {
    const std::vector<std::byte> bytes = RandomBytes(n, rng);
    const uint64_t want = SumOf(bytes, 5);
    for (const int64_t shift : {0, 3, 8}) {
      ForEachSchedule([&] { CHECK(DeviceSum(bytes, {n}, shift, 5) == want); });
    }
    uint64_t sum = 0;
    for (size_t word = 0; 8 * word < n; ++word) {
      uint64_t value = 0;
      std::memcpy(&value, bytes.data() + 8 * word, std::min<size_t>(8, n - 8 * word));
      sum += ChecksumTerm(value, 5 + word);
    }
    CHECK(sum == want);
  }
}

TEST_CASE("cuts at multiples of eight bytes do not matter") {
  std::mt19937 rng(2);
  const std::vector<std::byte> bytes = RandomBytes(8 * 64 * 16 + 5, rng);
  const uint64_t want = SumOf(bytes, 0);
  std::vector<size_t> cut(kChecksumPiecesMax, 128);
  cut.back() = bytes.size() - 128 * (cut.size() - 1);
  ForEachSchedule([&] { CHECK(DeviceSum(bytes, cut, 0) == want); });
  CHECK(DeviceSum(bytes, {16, 0, 4096, bytes.size() - 4112}, 8) == want);
}

TEST_CASE("damage changes the checksum") {
  std::mt19937 rng(3);
  const std::vector<std::byte> bytes = RandomBytes(203, rng);
  const uint64_t whole = DeviceSum(bytes, {bytes.size()}, 0);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> damaged = bytes;
    damaged[i] ^= static_cast<std::byte>(1u << (i % 8));
    CHECK(DeviceSum(damaged, {bytes.size()}, 0) != whole);
  }
  std::vector<std::byte> exchanged = bytes;
  std::swap_ranges(exchanged.begin(), exchanged.begin() + 8, exchanged.begin() + 64);
  CHECK(DeviceSum(exchanged, {bytes.size()}, 0) != whole);
  // A zero byte more is another length.
  CHECK(FinishChecksum(whole, 203) != FinishChecksum(whole, 204));
}

TEST_CASE("no checksum is 0, and too many pieces are refused") {
  for (uint64_t bytes = 0; bytes < 1000; ++bytes) CHECK(FinishChecksum(bytes, bytes) == 1);
  ChecksumParams params{.count = kChecksumPiecesMax + 1};
  CHECK(AddChecksum(params, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace lynx::cuda
