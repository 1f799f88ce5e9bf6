// A block's shared memory: one arena, in which arrays lie apart with red zones between them.
#pragma once

#include <cstddef>

#include "array.h"

namespace simt {

class SharedMemory {
 public:
  struct Range {
    size_t offset;
    size_t bytes;
  };

  // Before each block: no arrays, every byte 0xff, so that what nobody wrote reads as NaN or -1.
  void Open(size_t limit_bytes);
  // After each block.
  void Close();

  // The place of a new array that a device would put at `device_offset`: equally aligned, in the
  // same banks. nullptr: more arrays than there is room for.
  char* Add(size_t device_offset, size_t bytes, size_t align);
  size_t arrays() const { return ranges_.size(); }
  Range range(size_t i) { return ranges_[i]; }
  char* address(size_t i) { return arena_ + ranges_[i].offset; }

  size_t limit_bytes() const { return limit_bytes_; }
  bool Contains(const void* p, size_t bytes) const;

  struct Damage {
    bool found = false;
    int array = -1;  // the one before the damage; -1: before the first
    size_t offset = 0;
  };
  // A byte of a red zone that is not what it was.
  Damage FindDamage();

 private:
  char* arena_ = nullptr;
  size_t arena_bytes_ = 0;
  size_t capacity_bytes_ = 0;
  size_t limit_bytes_ = 0;
  Array<Range> ranges_;
};

}  // namespace simt
