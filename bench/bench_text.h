// English prose that the benches cut prompts from (bench_text.txt): some 4,000 tokens, never
// changed, so that figures stay comparable.
#pragma once

#include <string_view>

namespace lynx::bench {

extern const std::string_view kBenchText;

}  // namespace lynx::bench
