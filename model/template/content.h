// What a template expects of a message's `content`, and messages brought into that form.
//
// OpenAI clients send content as a string, as a list of {"type": "text", "text": ...} parts, or as
// null. Templates are written for some of these. What a template handles is decided once from its
// source: it handles lists if it loops over `<x>.content` or over a variable set from it; it tells
// strings from lists if it tests content with `is string`, `is iterable`, `is sequence` or
// `is mapping`; it handles null if it tests content with `is none`, `is defined` or compares it
// with none.
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "model/template/ast.h"

namespace lynx::jinja {

struct ContentTraits {
  bool loops = false;
  bool tests_type = false;
  bool tests_none = false;
};

ContentTraits InspectContent(const Block& block);

// - Parts for a template without lists are joined with "\n"; a string for a template that knows
// only
//   lists becomes one text part. Parts other than text are an error: this server has no other.
// - Null or absent content becomes "" unless the template handles null.
// - `arguments` of a tool call that are a JSON object in a string become the object, as templates
//   write them with tojson.
absl::StatusOr<nlohmann::ordered_json> NormalizeMessages(nlohmann::ordered_json messages,
                                                         const ContentTraits& traits);

}  // namespace lynx::jinja
