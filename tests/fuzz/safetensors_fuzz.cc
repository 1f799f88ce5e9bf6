// fuzz-links: lynx_model
#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)lynx::ParseSafetensors({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
