// The page's files, made from gateway/page/ when the program is built.
#pragma once

#include <string_view>

namespace lynx {

extern const std::string_view kPageHtml, kPageCss, kPageJs;

}  // namespace lynx
