// KvOps between passes: a test's copies on the passes' stream stand for what passes write and read.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "model/cuda/cuda_kv_ops.h"

namespace lynx::testing {

using cuda::CudaKvOps;
using cuda::DeviceBuffer;
using cuda::PinnedBuffer;

using Bytes = std::vector<std::byte>;

inline constexpr KvShape kShape{.kv_heads = 1, .head_dim = 64};
inline constexpr int kPages = 6;

// Groups of a narrow range, so that a Tail is short of its page, and no group is raw.
inline Bytes SomePage(uint64_t seed) {
  std::mt19937_64 rng(seed);
  Bytes page(Bf16PageBytes(kShape));
  auto* numbers = reinterpret_cast<bf16*>(page.data());
  std::normal_distribution<float> normal(0, 2);
  for (size_t i = 0; i < page.size() / sizeof(bf16); ++i) numbers[i] = ToBf16(normal(rng));
  return page;
}

// Device memory for the pages' blocks of one kind.
struct Blocks {
  explicit Blocks(size_t block_bytes)
      : bytes(block_bytes), memory(*DeviceBuffer<std::byte>::Create(kPages * block_bytes)) {}
  std::byte* at(int page) const { return memory.data() + page * bytes; }
  size_t bytes;
  DeviceBuffer<std::byte> memory;
};

struct World {
  // Queued on the passes' stream, as a pass would write it.
  void Write(std::byte* to, const Bytes& data) {
    auto pinned = PinnedBuffer<std::byte>::Create(data.size());
    REQUIRE(pinned.ok());
    std::memcpy(pinned->data(), data.data(), data.size());
    REQUIRE(cudaMemcpyAsync(to, pinned->data(), data.size(), cudaMemcpyDefault, passes.get()) ==
            cudaSuccess);
    written.push_back(std::move(*pinned));
  }
  void WritePages() {
    for (int i = 0; i < kPages; ++i) Write(pages.at(i), numbers[i]);
  }
  // As for logits: for the passes, and nothing that they do not wait for.
  void FinishPasses() { REQUIRE(cudaStreamSynchronize(passes.get()) == cudaSuccess); }
  // Waits for nothing that is queued.
  static Bytes Read(const std::byte* from, size_t bytes) {
    Bytes out(bytes);
    REQUIRE(cudaMemcpy(out.data(), from, bytes, cudaMemcpyDeviceToHost) == cudaSuccess);
    return out;
  }
  static int FirstToken(int page) { return page == 0 ? kSinkTokens : 0; }
  std::vector<CodeJob> CodeJobs() const {
    std::vector<CodeJob> jobs;
    for (int i = 0; i < kPages; ++i) {
      jobs.push_back({.page = pages.at(i),
                      .first_token = FirstToken(i),
                      .anchor = anchors.at(i),
                      .residual = residuals.at(i),
                      .tail = restored.at(i)});
    }
    return jobs;
  }

  KvSplit split;
  cuda::UniqueStream passes = *cuda::NewStream();
  // Room for a page, so that Tails go in several parts.
  const std::unique_ptr<CudaKvOps> created =
      *CudaKvOps::Create(passes.get(), Bf16PageBytes(kShape));
  CudaKvOps& ops = *created;
  std::vector<Bytes> numbers = [] {
    std::vector<Bytes> all;
    for (int i = 0; i < kPages; ++i) all.push_back(SomePage(static_cast<uint64_t>(i)));
    return all;
  }();
  Blocks pages{Bf16PageBytes(kShape)};
  Blocks anchors{AnchorBlockBytes(kShape, split)};
  Blocks residuals{ResidualBlockBytes(kShape, split)};
  Blocks restored{Bf16PageBytes(kShape)};  // where Tails and packed tokens are made too
  Blocks sinks{kSinkTokens * PackedTokenBytes(kShape)};
  std::vector<PinnedBuffer<std::byte>> written;
};

}  // namespace lynx::testing
