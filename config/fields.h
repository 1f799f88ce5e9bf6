// The one description of all options. Parsing, ranges, unknown-key errors, environment and flag
// names, schema, dump, reference and template are derived from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/config.h"

namespace lynx {

struct Field {
  using Target = std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*>;

  std::string path;                  // "gateway.port"
  Target value;                      // in the config that the field was made for
  std::string help;                  // what it is and what it trades, in whole sentences
  double min = 0.0;                  // of numbers, inclusive
  double max = 0.0;                  //
  std::vector<std::string> choices;  // of strings; empty: any
};

// All fields, section by section, pointing into `config`, which must outlive them.
std::vector<Field> DescribeFields(Config& config);

// Null if there is no such field.
const Field* FindField(const std::vector<Field>& fields, std::string_view path);

// "kv.anchor_bits" is a section, because fields stand in it.
bool IsSection(const std::vector<Field>& fields, std::string_view path);

// LYNX_GATEWAY_PORT.
std::string EnvironmentName(std::string_view path);

// The paths of the field's sections and its own last name: {"kv", "anchor_bits", "k"}.
std::vector<std::string> PathParts(std::string_view path);

}  // namespace lynx
