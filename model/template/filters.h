// Filters: `value|name(args)`.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "model/template/context.h"

namespace lynx::jinja {

struct FilterSpec {
  std::string_view name;
  absl::StatusOr<Value> (*fn)(Context& ctx, const Value& in, const Args& args);
};

// Null: unknown. A filter that jinja2 has and this table lacks is refused when a template is
// loaded.
const FilterSpec* FindFilter(std::string_view name);

// The tables, by file.
const FilterSpec* FindTextFilter(std::string_view name);
const FilterSpec* FindSequenceFilter(std::string_view name);
const FilterSpec* FindSelectFilter(std::string_view name);

// The item that a path as "a.b.0" names in `v`; a null attribute is `v` itself.
absl::StatusOr<Value> ByPath(Context& ctx, const Value& v, const Value* attribute);

}  // namespace lynx::jinja
