// The page at `/`: the gateway's servers, and a playground. Its files are part of the program; what
// they show they ask for as any client does.
#pragma once

#include <optional>
#include <string_view>

#include "gateway/http_types.h"

namespace lynx {

// The figures that the page shows, by any client with a key. Not one of the page's files.
inline constexpr std::string_view kPoolPath = "/lynx/pool";

// One of the page's files, with headers that let a browser run nothing but these files and talk to
// nobody but this gateway. Nothing of a request gets into it. Empty: no file of it.
std::optional<HttpResponse> PageFile(std::string_view path);

}  // namespace lynx
