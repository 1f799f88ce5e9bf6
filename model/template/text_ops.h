// String operations that keep the origin of every byte.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/template/context.h"

namespace lynx::jinja {

// Removes characters at the ends: those of `chars`, or white space where it is null.
Text Strip(const Text& t, const Text* chars, bool left, bool right);
enum class CaseMap { kUpper, kLower, kCapitalize, kTitle, kSwap };
Text MapCase(const Text& t, CaseMap map);
// str.isupper, str.islower: has a cased character and none of the other case.
bool HasOnlyCase(const Text& t, bool upper);
// At most `count` replacements where count >= 0.
absl::StatusOr<Text> Replace(Context& ctx, const Text& t, const Text& from, const Text& to,
                             int64_t count);
// str.split and str.rsplit; a null separator means runs of white space; limit < 0: none.
absl::StatusOr<std::vector<Value>> Split(Context& ctx, const Text& t, const Text* separator,
                                         int64_t limit, bool from_right);
std::vector<Value> SplitLines(const Text& t, bool keep_ends);
// Offset of `part` at or after `from`, or npos; linear time.
size_t FindBytes(std::string_view t, std::string_view part, size_t from);
// `left` and `right` copies of `fill` around t.
absl::StatusOr<Value> Pad(Context& ctx, const Text& t, int64_t left, int64_t right,
                          const Text& fill);

}  // namespace lynx::jinja
