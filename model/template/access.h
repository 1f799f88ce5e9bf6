// Attributes, items, slices and iteration.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/template/context.h"

namespace lynx::jinja {

// base.name: a method or attribute, else the item of that name, else undefined.
absl::StatusOr<Value> GetAttribute(const Value& base, std::string_view name);
// base[key]: the item, else the attribute of that name, else undefined.
absl::StatusOr<Value> GetItem(Context& ctx, const Value& base, const Value& key);
// Null parts are absent.
absl::StatusOr<Value> GetSlice(Context& ctx, const Value& base, const Value* start,
                               const Value* stop, const Value* step);
// The items that a for loop over `v` sees. An iterator is used up.
absl::StatusOr<std::vector<Value>> Items(Context& ctx, const Value& v);
// len(v)
absl::StatusOr<int64_t> Length(const Value& v);

}  // namespace lynx::jinja
