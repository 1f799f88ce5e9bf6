// What one rendering may use. Templates come with model files and messages from clients, so neither
// may hang the server or fill its memory: all work is counted and the count is bounded.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace lynx::jinja {

struct Limits {
  size_t template_bytes_max = size_t{1} << 20;
  size_t output_bytes_max = size_t{64} << 20;
  // Evaluated nodes, loop passes, compared items: some tens of nanoseconds each.
  int64_t steps_max = 4'000'000;
  // Bytes of all strings and lists that a rendering makes, live or not: bounds time and memory.
  int64_t bytes_max = int64_t{256} << 20;
  // Nested evaluations (expressions, blocks and macro calls together): bounds the C++ stack.
  int depth_max = 400;
};

// Deepest nesting of an expression or of blocks in a template's source, and of lists in a value.
inline constexpr int kSourceDepthMax = 100;
inline constexpr int kValueDepthMax = 100;

// Counts down one rendering's work. Used by one thread.
class Budget {
 public:
  explicit Budget(const Limits& limits)
      : steps_left_(limits.steps_max), bytes_left_(limits.bytes_max), limits_(limits) {}

  absl::Status Steps(size_t n = 1) {
    return Take(n, steps_left_) ? absl::OkStatus()
                                : absl::InvalidArgumentError("the template takes too many steps");
  }
  absl::Status Bytes(size_t n) {
    return Take(n, bytes_left_) ? absl::OkStatus()
                                : absl::InvalidArgumentError("the template makes too much text");
  }
  const Limits& limits() const { return limits_; }

 private:
  static bool Take(size_t n, int64_t& left) {
    if (n > static_cast<uint64_t>(left)) return false;
    left -= static_cast<int64_t>(n);
    return true;
  }

  int64_t steps_left_;
  int64_t bytes_left_;
  Limits limits_;
};

}  // namespace lynx::jinja
