// Tests: `value is name(args)`.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "model/template/context.h"

namespace lynx::jinja {

struct TestSpec {
  std::string_view name;
  absl::StatusOr<bool> (*fn)(Context& ctx, const Value& in, const Args& args);
};

// Null: unknown.
const TestSpec* FindTest(std::string_view name);

}  // namespace lynx::jinja
