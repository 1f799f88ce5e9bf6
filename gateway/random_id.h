// Randomness of the operating system.
#pragma once

#include <cstdint>
#include <string>

namespace lynx {

std::string RandomHex(int digits);

// Below 2^53, so that every JSON reader gives it back exactly.
uint64_t DrawSeed();

}  // namespace lynx
