// Python's operators on values.
#pragma once

#include "absl/status/statusor.h"
#include "model/template/ast.h"
#include "model/template/context.h"

namespace lynx::jinja {

absl::StatusOr<Value> Arithmetic(Context& ctx, BinaryOp op, const Value& a, const Value& b);
absl::StatusOr<Value> Negate(const Value& v);
absl::StatusOr<bool> Equal(Context& ctx, const Value& a, const Value& b);
// a < b. Errors: values without an order.
absl::StatusOr<bool> Less(Context& ctx, const Value& a, const Value& b);
absl::StatusOr<bool> Contains(Context& ctx, const Value& container, const Value& item);
absl::StatusOr<bool> Compare(Context& ctx, CompareOp op, const Value& a, const Value& b);
// Sorts pairs (key, value) by key and keeps the order of equal keys.
absl::Status StableSort(Context& ctx, std::vector<std::pair<Value, Value>>* keyed, bool reverse);

}  // namespace lynx::jinja
