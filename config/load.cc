#include "config/load.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "config/cross_check.h"
#include "config/field_value.h"
#include "config/fields.h"
#include "config/json_entries.h"
#include "config/nearest.h"
#include "runtime/mapped_file.h"

namespace lynx {
namespace {

constexpr size_t kMaxErrors = 20;

std::string Shortened(const std::string& key) {
  return key.size() <= 128 ? key : key.substr(0, 128) + "...";
}

class Loader {
 public:
  Loader() : fields_(DescribeFields(loaded_.config)) {
    for (const Field& field : fields_) {
      loaded_.origins[field.path] = "default";
      names_.push_back(field.path);
    }
  }

  void ReadFile(const std::string& name, const std::string& text) {
    absl::StatusOr<std::vector<JsonEntry>> entries = ReadJsonEntries(text, name);
    if (!entries.ok()) return Error(std::string(entries.status().message()));
    std::string unknown_section = "";  // whose members need no error of their own
    for (const JsonEntry& entry : *entries) {
      if (!unknown_section.empty() && absl::StartsWith(entry.path, unknown_section)) continue;
      const std::string where = absl::StrCat(name, ":", entry.line);
      if (Take(entry, where)) continue;
      Unknown(where, entry.path);
      if (entry.is_object) unknown_section = entry.path + ".";
    }
  }

  void ReadEnvironment(const std::vector<std::pair<std::string, std::string>>& environment) {
    for (const auto& [name, value] : environment) {
      if (!absl::StartsWith(name, "LYNX_")) continue;
      const Field* field = FindByEnvironmentName(name);
      if (field == nullptr) {
        loaded_.warnings.push_back("environment " + Shortened(name) + " names no option");
        continue;
      }
      Set(*field, "environment " + name, SetFromText(*field, value));
    }
  }

  void ReadFlags(const std::vector<std::string>& flags) {
    for (const std::string& flag : flags) {
      const absl::string_view text = absl::StripPrefix(flag, "--");
      const size_t equals = text.find('=');
      const std::string path(text.substr(0, equals));
      const std::string where = "flag --" + Shortened(path);
      if (equals == absl::string_view::npos) {
        Error(where + ": must have the form --section.key=value");
        continue;
      }
      const Field* field = FindField(fields_, path);
      if (field == nullptr) {
        Unknown(where, path);
        continue;
      }
      const absl::string_view value = text.substr(equals + 1);
      Set(*field, where, SetFromText(*field, {value.data(), value.size()}));
    }
  }

  absl::StatusOr<LoadedConfig> Finish() {
    // Fields were checked one by one; what they mean together only makes sense if they are right.
    if (errors_.empty()) {
      for (const FieldError& error : CrossCheck(loaded_.config)) {
        Error(absl::StrCat(error.path, " (", loaded_.origins.at(error.path), "): ", error.message));
      }
    }
    if (!errors_.empty()) return absl::InvalidArgumentError(absl::StrJoin(errors_, "\n"));
    return std::move(loaded_);
  }

 private:
  void Error(std::string line) {
    if (errors_.size() < kMaxErrors) errors_.push_back(std::move(line));
  }

  void Unknown(const std::string& where, const std::string& path) {
    Error(absl::StrCat(where, ": ", Shortened(path), ": no such key; the nearest is ",
                       NearestPath(path, names_)));
  }

  // False if there is no such key.
  bool Take(const JsonEntry& entry, const std::string& where) {
    const bool is_section = IsSection(fields_, entry.path);
    if (is_section && !entry.is_object) {
      Error(absl::StrCat(where, ": ", entry.path, ": must be an object"));
      return true;
    }
    const Field* field = FindField(fields_, entry.path);
    if (field == nullptr) return is_section;
    if (entry.is_object) {
      Error(absl::StrCat(where, ": ", entry.path, ": must be ", Expectation(*field),
                         ", is an object"));
      return true;
    }
    Set(*field, where, SetFromJson(*field, entry.value), "file ");
    return true;
  }

  void Set(const Field& field, const std::string& where, const absl::Status& status,
           const char* kind = "") {
    if (!status.ok()) {
      return Error(absl::StrCat(where, ": ", field.path, ": ", status.message()));
    }
    loaded_.origins[field.path] = kind + where;
  }

  const Field* FindByEnvironmentName(const std::string& name) const {
    auto it = std::find_if(fields_.begin(), fields_.end(),
                           [&](const Field& field) { return EnvironmentName(field.path) == name; });
    return it == fields_.end() ? nullptr : &*it;
  }

  LoadedConfig loaded_;
  const std::vector<Field> fields_;  // of loaded_.config
  std::vector<std::string> names_;
  std::vector<std::string> errors_;
};

}  // namespace

absl::StatusOr<ConfigSources> ReadConfigSources(const std::string& file_path,
                                                const char* const* environment,
                                                std::vector<std::string> flags) {
  ConfigSources sources;
  if (!file_path.empty()) {
    ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(file_path));
    const auto bytes = file.bytes();
    if (bytes.size() > kMaxConfigBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(file_path, ": a config file has at most ", kMaxConfigBytes, " bytes"));
    }
    sources.file_name = file_path;
    sources.file_text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const char* equals = std::strchr(*environment, '=');
    if (equals == nullptr) continue;
    sources.environment.emplace_back(std::string(*environment, equals), equals + 1);
  }
  sources.flags = std::move(flags);
  return sources;
}

absl::StatusOr<LoadedConfig> LoadConfig(const ConfigSources& sources) {
  Loader loader;
  if (!sources.file_name.empty()) loader.ReadFile(sources.file_name, sources.file_text);
  loader.ReadEnvironment(sources.environment);
  loader.ReadFlags(sources.flags);
  return loader.Finish();
}

}  // namespace lynx
