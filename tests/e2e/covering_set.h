// Few rows in which every pair of values of every two dimensions occurs: what a product of many
// dimensions can be tested with in minutes. A fault that needs no more than two particular values
// at once meets them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lynx {

// A level for each dimension, 0 <= level < levels of that dimension.
using CoveringRow = std::vector<int>;

// Greedy; the same rows for the same `levels` (each at least 1) and seed.
std::vector<CoveringRow> CoveringSet(std::span<const int> levels, uint64_t seed);

}  // namespace lynx
