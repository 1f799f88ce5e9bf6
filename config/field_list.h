// How fields_*.cc write fields down: one call a field.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/fields.h"

namespace lynx {

class FieldList {
 public:
  void Bool(std::string path, bool* value, std::string help) {
    Add(std::move(path), value, std::move(help));
  }
  void Int(std::string path, int64_t* value, int64_t min, int64_t max, std::string help) {
    Field& field = Add(std::move(path), value, std::move(help));
    field.min = static_cast<double>(min);
    field.max = static_cast<double>(max);
  }
  void Real(std::string path, double* value, double min, double max, std::string help) {
    Field& field = Add(std::move(path), value, std::move(help));
    field.min = min;
    field.max = max;
  }
  void Text(std::string path, std::string* value, std::string help) {
    Add(std::move(path), value, std::move(help));
  }
  void Choice(std::string path, std::string* value, std::vector<std::string> choices,
              std::string help) {
    Add(std::move(path), value, std::move(help)).choices = std::move(choices);
  }
  void List(std::string path, std::vector<std::string>* value, std::string help) {
    Add(std::move(path), value, std::move(help));
  }

  std::vector<Field> Take() { return std::move(fields_); }

 private:
  Field& Add(std::string path, Field::Target value, std::string help) {
    Field field;
    field.path = std::move(path);
    field.value = value;
    field.help = std::move(help);
    fields_.push_back(std::move(field));
    return fields_.back();
  }

  std::vector<Field> fields_;
};

inline constexpr int64_t kMaxPort = 65535;
inline constexpr int64_t kMaxSeconds = 86400;
inline constexpr int64_t kMaxMillis = 600000;
inline constexpr int64_t kMaxThreads = 1024;
inline constexpr int64_t kMaxTokens = 1 << 24;

void AddGatewayFields(GatewayConfig& c, FieldList& list);
void AddPoolsFields(PoolsConfig& c, FieldList& list);
void AddPrefillFields(PrefillConfig& c, FieldList& list);
void AddDecodeFields(DecodeConfig& c, FieldList& list);
void AddTransferFields(TransferConfig& c, FieldList& list);

}  // namespace lynx
