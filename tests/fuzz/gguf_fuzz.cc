// fuzz-links: lynx_model
#include <spdlog/spdlog.h>

#include "model/gguf_config.h"
#include "model/loader.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  spdlog::set_level(spdlog::level::off);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto file = lynx::GgufFile::Parse({reinterpret_cast<const std::byte*>(data), size});
  if (!file.ok()) return 0;
  auto config = lynx::ConfigFromGguf(*file);
  if (!config.ok()) return 0;
  (void)lynx::LoadWeights(*config, lynx::SourceFromGguf(*file, *config));
  return 0;
}
