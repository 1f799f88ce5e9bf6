#include "config/config.h"

#include "absl/strings/str_join.h"
#include "config/cross_check.h"
#include "config/field_value.h"
#include "config/fields.h"

namespace lynx {
absl::Status Config::Validate() const {
  std::vector<std::string> lines;
  Config copy = *this;
  for (const Field& field : DescribeFields(copy)) {
    absl::Status status = CheckValue(field);
    if (!status.ok()) lines.push_back(absl::StrCat(field.path, ": ", status.message()));
  }
  for (const FieldError& error : CrossCheck(*this)) {
    lines.push_back(absl::StrCat(error.path, ": ", error.message));
  }
  if (lines.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(lines, "\n"));
}

}  // namespace lynx
