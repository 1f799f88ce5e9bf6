#include "kernels/cpu/scratch.h"

#include "runtime/aligned_buffer.h"

namespace lynx {

std::byte* ThreadScratch(size_t bytes) {
  thread_local AlignedBuffer<std::byte> scratch;
  if (scratch.size() < bytes) scratch = AlignedBuffer<std::byte>(bytes + bytes / 2);
  return scratch.data();
}

}  // namespace lynx
