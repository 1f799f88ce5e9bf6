// The paper's table as a picture: a line a format, with a dot where each of its tokens is known.
#pragma once

#include <string>
#include <vector>

#include "bench/paper_table.h"

namespace lynx::bench {

// An SVG document.
std::string PlotPaperTable(const PaperTableOptions& options, const std::vector<PaperRow>& rows);

}  // namespace lynx::bench
