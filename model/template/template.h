// A parsed template and its plain rendering. Immutable after Parse: any number of threads may
// render it at once.
#pragma once

#include <ctime>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/template/interpreter.h"

namespace lynx::jinja {

class Template {
 public:
  // InvalidArgument with the line: syntax, unknown names, a source above the limit.
  static absl::StatusOr<Template> Parse(std::string_view source, const Limits& limits = {});

  // InvalidArgument with the line: raise_exception, wrong types, spent limits.
  absl::StatusOr<Text> Render(const Variables& variables, const std::tm& now) const;

  const Block& block() const { return block_; }

 private:
  Template(Block block, const Limits& limits) : block_(std::move(block)), limits_(limits) {}
  Block block_;
  Limits limits_;
};

}  // namespace lynx::jinja
