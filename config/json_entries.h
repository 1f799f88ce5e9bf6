// A config file's text as a flat list of keys with their lines. Knows JSON with comments (// and
// /* */), but no option.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace lynx {

struct JsonEntry {
  std::string path;  // "kv.anchor_bits.k"
  int line = 0;      // of the key, from 1
  bool is_object = false;
  nlohmann::json value;  // a scalar or an array of scalars; null if is_object
};

inline constexpr size_t kMaxConfigBytes = 1 << 20;

// Entries in the order of the text, an object before its members. INVALID_ARGUMENT that begins with
// "name:line: ": no JSON, not an object, nested too deeply, an array of anything but scalars, or a
// key given twice.
absl::StatusOr<std::vector<JsonEntry>> ReadJsonEntries(std::string_view text,
                                                       const std::string& name);

}  // namespace lynx
