#include "gateway/random_id.h"

#include <openssl/rand.h>

#include "runtime/status.h"

namespace lynx {

std::string RandomHex(int digits) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text(static_cast<size_t>(digits), '0');
  LYNX_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(text.data()), digits) == 1);
  for (char& c : text) c = kHex[static_cast<unsigned char>(c) & 15];
  return text;
}

uint64_t DrawSeed() {
  uint64_t seed = 0;
  LYNX_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&seed), sizeof(seed)) == 1);
  return seed >> 11;
}

}  // namespace lynx
