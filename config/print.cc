#include "config/print.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "config/field_value.h"
#include "config/fields.h"

namespace lynx {
namespace {

using nlohmann::ordered_json;

constexpr size_t kColumns = 100;

std::string ValueText(const Field& field) {
  const ordered_json value = ToJson(field);
  if (!value.is_array()) return value.dump(-1, ' ', true);
  std::vector<std::string> elements;
  for (const ordered_json& element : value) elements.push_back(element.dump(-1, ' ', true));
  return "[" + absl::StrJoin(elements, ", ") + "]";
}

std::string Wrapped(const std::string& text, const std::string& prefix) {
  std::string out, line = prefix;
  for (absl::string_view word : absl::StrSplit(text, ' ')) {
    if (line.size() + 1 + word.size() > kColumns && line != prefix) {
      out += line + "\n";
      line = prefix;
    }
    absl::StrAppend(&line, " ", word);
  }
  return out + line + "\n";
}

// The fields as nested objects. `above` gives whole lines for a field at an indentation, `behind` a
// comment behind its value; either may be empty.
std::string PrintTree(
    const std::vector<Field>& fields,
    const std::function<std::string(const Field&, const std::string& indent)>& above,
    const std::function<std::string(const Field&)>& behind) {
  std::string out = "{\n";
  std::vector<std::string> open;  // sections
  auto indent = [&] { return std::string(2 * (open.size() + 1), ' '); };
  bool first = true;    // in its object: no comma before it
  std::string pending;  // the last field's comment, which stands behind the comma
  auto end_line = [&](bool comma) {
    if (!first) out += (comma ? "," : "") + pending + "\n";
    pending.clear();
  };
  auto close_to = [&](size_t depth) {
    while (open.size() > depth) {
      end_line(false);
      open.pop_back();
      out += indent() + "}";
      first = false;
    }
  };
  for (const Field& field : fields) {
    std::vector<std::string> sections = PathParts(field.path);
    const std::string name = sections.back();
    sections.pop_back();
    size_t shared = 0;
    while (shared < std::min(open.size(), sections.size()) && open[shared] == sections[shared]) {
      ++shared;
    }
    close_to(shared);
    for (; shared < sections.size(); ++shared) {
      end_line(true);
      out += indent() + "\"" + sections[shared] + "\": {\n";
      open.push_back(sections[shared]);
      first = true;
    }
    end_line(true);
    if (above) out += above(field, indent());
    out += indent() + "\"" + name + "\": " + ValueText(field);
    if (behind) pending = "  // " + behind(field);
    first = false;
  }
  close_to(0);
  end_line(false);
  return out + "}\n";
}

ordered_json FieldSchema(const Field& field) {
  ordered_json schema;
  if (std::holds_alternative<bool*>(field.value)) schema["type"] = "boolean";
  if (std::holds_alternative<int64_t*>(field.value)) {
    schema["type"] = "integer";
    schema["minimum"] = static_cast<int64_t>(field.min);
    schema["maximum"] = static_cast<int64_t>(field.max);
  }
  if (std::holds_alternative<double*>(field.value)) {
    schema["type"] = "number";
    schema["minimum"] = field.min;
    schema["maximum"] = field.max;
  }
  if (std::holds_alternative<std::string*>(field.value)) schema["type"] = "string";
  if (!field.choices.empty()) schema["enum"] = field.choices;
  if (std::holds_alternative<std::vector<std::string>*>(field.value)) {
    schema["type"] = "array";
    schema["items"] = {{"type", "string"}};
  }
  schema["default"] = ToJson(field);
  schema["description"] = field.help;
  return schema;
}

ordered_json ObjectSchema() {
  return {
      {"type", "object"}, {"additionalProperties", false}, {"properties", ordered_json::object()}};
}

}  // namespace

std::string DumpConfig(const LoadedConfig& loaded) {
  Config config = loaded.config;
  return PrintTree(DescribeFields(config), nullptr,
                   [&](const Field& field) { return loaded.origins.at(field.path); });
}

std::string ConfigTemplate() {
  Config config;
  const std::vector<Field> fields = DescribeFields(config);
  return "// Lynx on one CPU machine: every option at its default. A file may leave out what it "
         "does\n"
         "// not change. docs/configuration.md says how files, environment and flags go "
         "together.\n" +
         PrintTree(
             fields,
             [](const Field& field, const std::string& indent) {
               return Wrapped(field.help, indent + "//");
             },
             nullptr);
}

std::string ConfigSchema() {
  Config config;
  ordered_json schema = ObjectSchema();
  for (const Field& field : DescribeFields(config)) {
    std::vector<std::string> parts = PathParts(field.path);
    ordered_json* object = &schema;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      ordered_json& properties = (*object)["properties"];
      if (!properties.contains(parts[i])) properties[parts[i]] = ObjectSchema();
      object = &properties[parts[i]];
    }
    (*object)["properties"][parts.back()] = FieldSchema(field);
  }
  ordered_json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                       {"title", "Lynx configuration"}};
  root.update(schema);
  return root.dump(2) + "\n";
}

std::string ConfigReference() {
  Config config;
  std::string out, section = "-";
  for (const Field& field : DescribeFields(config)) {
    const std::vector<std::string> parts = PathParts(field.path);
    const std::string own = parts.size() == 1 ? "" : parts[0];
    if (own != section) {
      section = own;
      absl::StrAppend(&out, "\n## ", own.empty() ? "Top level" : own,
                      "\n\n| key | default | must be | meaning |\n|---|---|---|---|\n");
    }
    absl::StrAppend(&out, "| `", field.path, "` | `", ValueText(field), "` | ", Expectation(field),
                    " | ", field.help, " |\n");
  }
  return out.substr(1);
}

}  // namespace lynx
