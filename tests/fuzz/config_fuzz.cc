// fuzz-links: lynx_config
// Any bytes as a config file: an error or a config that survives its own dump.
#include <cstddef>
#include <cstdint>

#include "config/print.h"
#include "runtime/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lynx::ConfigSources sources;
  sources.file_name = "fuzz";
  sources.file_text.assign(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<lynx::LoadedConfig> loaded = lynx::LoadConfig(sources);
  if (!loaded.ok()) return 0;
  LYNX_CHECK(loaded->config.Validate().ok());
  sources.file_text = lynx::DumpConfig(*loaded);
  LYNX_CHECK(lynx::LoadConfig(sources).ok());
  return 0;
}
