// What options must fulfil together.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace lynx {

struct FieldError {
  std::string path;
  std::string message;
};

std::vector<FieldError> CrossCheck(const Config& config);

}  // namespace lynx
