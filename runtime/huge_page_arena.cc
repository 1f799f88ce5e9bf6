#include "runtime/huge_page_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "runtime/status.h"

namespace lynx {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kChunkBytes = size_t{64} << 20;
constexpr size_t kAlignment = 64;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void Unmap(std::byte* begin, const std::byte* end) {
  if (begin != end) munmap(begin, static_cast<size_t>(end - begin));
}

// Maps one huge page more than is asked for and gives back what lies outside the alignment.
std::span<std::byte> Map(size_t bytes) {
  const size_t mapped = bytes + kHugePage;
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  LYNX_CHECK(memory != MAP_FAILED);
  auto* begin = static_cast<std::byte*>(memory);
  const auto address = reinterpret_cast<uintptr_t>(begin);
  std::byte* aligned = begin + (RoundUp(address, kHugePage) - address);
  Unmap(begin, aligned);
  Unmap(aligned + bytes, begin + mapped);
  // Refused where the system has no huge pages: then small ones do.
  madvise(aligned, bytes, MADV_HUGEPAGE);
  return {aligned, bytes};
}

}  // namespace

HugePageArena::~HugePageArena() {
  for (std::span<std::byte> chunk : chunks_) munmap(chunk.data(), chunk.size());
}

HugePageArena::HugePageArena(HugePageArena&& other) noexcept
    : chunks_(std::exchange(other.chunks_, {})), used_(std::exchange(other.used_, 0)) {}

HugePageArena& HugePageArena::operator=(HugePageArena&& other) noexcept {
  std::swap(chunks_, other.chunks_);
  std::swap(used_, other.used_);
  return *this;
}

std::byte* HugePageArena::Allocate(size_t bytes) {
  if (chunks_.empty() || chunks_.back().size() - used_ < bytes) {
    chunks_.push_back(Map(std::max(kChunkBytes, RoundUp(bytes, kHugePage))));
    used_ = 0;
  }
  std::byte* memory = chunks_.back().data() + used_;
  used_ = std::min(chunks_.back().size(), used_ + RoundUp(bytes, kAlignment));
  return memory;
}

}  // namespace lynx
