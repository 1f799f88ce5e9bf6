#include "model/template/template.h"

#include "model/template/error.h"
#include "model/template/parser.h"
#include "runtime/status.h"

namespace lynx::jinja {

absl::StatusOr<Template> Template::Parse(std::string_view source, const Limits& limits) {
  if (source.size() > limits.template_bytes_max) return Error("the template is too long");
  ASSIGN_OR_RETURN(Block block, ParseTemplate(source));
  return Template(std::move(block), limits);
}

absl::StatusOr<Text> Template::Render(const Variables& variables, const std::tm& now) const {
  return Interpreter(limits_, now, variables).Run(block_);
}

}  // namespace lynx::jinja
