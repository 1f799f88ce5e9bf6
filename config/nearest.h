// The known name that someone who misspelt one probably meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lynx {

// Of `names`, which is not empty, the one with the fewest letters to insert, delete, replace or
// swap; the first of several. A right last part in a wrong section counts as one change.
std::string NearestPath(std::string_view path, const std::vector<std::string>& names);

}  // namespace lynx
