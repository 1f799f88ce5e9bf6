#include "gateway/page.h"

#include "gateway/page_text.h"

namespace lynx {
namespace {

constexpr char kContentSecurityPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct File {
  std::string_view path, content_type, text;
};

const File kFiles[] = {{"/", "text/html; charset=utf-8", kPageHtml},
                       {"/page.css", "text/css; charset=utf-8", kPageCss},
                       {"/page.js", "text/javascript; charset=utf-8", kPageJs}};

}  // namespace

std::optional<HttpResponse> PageFile(std::string_view path) {
  for (const File& file : kFiles) {
    if (file.path != path) continue;
    HttpResponse response;
    response.content_type = file.content_type;
    response.body = file.text;
    response.headers = {{"Content-Security-Policy", kContentSecurityPolicy},
                        {"Referrer-Policy", "no-referrer"},
                        {"Cross-Origin-Opener-Policy", "same-origin"},
                        {"Cross-Origin-Resource-Policy", "same-origin"},
                        {"Cache-Control", "no-cache"}};
    return response;
  }
  return std::nullopt;
}

}  // namespace lynx
