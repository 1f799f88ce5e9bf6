// Real-text prompts for benches (bench/data/prompts.json).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/text_model.h"
#include "runtime/status.h"

namespace lynx::bench {

struct BenchPrompt {
  std::string name;
  std::vector<int32_t> tokens;
};

// `json`: {"prompts": [{"name", "content"}]}; each becomes the single user message of a chat.
absl::StatusOr<std::vector<BenchPrompt>> ParsePrompts(std::string_view json,
                                                      const TextModel& model);

}  // namespace lynx::bench
