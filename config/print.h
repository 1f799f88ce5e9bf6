// What the commands check-config, dump-config and print-schema print, and the texts that are kept
// in the repository, all made from config/fields.h.
#pragma once

#include <string>

#include "config/load.h"

namespace lynx {

// The effective values as a config file, each with its origin as a comment. Options hold no
// secrets: API keys stand in a file of their own, which is only named.
std::string DumpConfig(const LoadedConfig& loaded);

// A JSON Schema (2020-12) of the config file; ends with a newline.
std::string ConfigSchema();

// The defaults as a config file with each option's help: config/lynx.json.
std::string ConfigTemplate();

// A table for each section, in Markdown: the second part of docs/configuration.md.
std::string ConfigReference();

}  // namespace lynx
