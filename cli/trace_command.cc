// `lynx trace`: fetches a request's trace from a gateway.
#include <cstdio>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "cli/command.h"
#include "cli/http_get.h"
#include "cli/server_url.h"
#include "cli/text_file.h"

namespace lynx {
namespace {

struct Arguments {
  std::string request;
  std::string gateway = "http://127.0.0.1:8000";
  std::string api_key_file;
  std::string out;
};

// The first line that is one.
absl::StatusOr<std::string> ReadApiKey(const std::string& path) {
  if (path.empty()) return std::string();
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  const std::string key(absl::StripAsciiWhitespace(text.substr(0, text.find('\n'))));
  if (key.empty())
    return absl::InvalidArgumentError(absl::StrCat(path, ": no key in its first line"));
  return key;
}

absl::Status Trace(const Arguments& a) {
  for (const char c : a.request) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') {
      return absl::InvalidArgumentError(
          absl::StrCat(absl::CHexEscape(a.request), ": not a request's name (X-Request-Id)"));
    }
  }
  ASSIGN_OR_RETURN(const ServerUrl gateway, ParseServerUrl(a.gateway));
  ASSIGN_OR_RETURN(std::string key, ReadApiKey(a.api_key_file));
  const absl::StatusOr<HttpReply> reply = HttpGet({.host = gateway.host,
                                                   .port = gateway.port,
                                                   .path = absl::StrCat("/lynx/trace/", a.request),
                                                   .api_key = std::move(key)});
  if (!reply.ok()) return Annotate(reply.status(), a.gateway);
  if (reply->status != 200) {
    return absl::FailedPreconditionError(
        absl::StrCat(a.gateway, " answers ", reply->status, ": ", reply->body));
  }
  if (!a.out.empty()) return WriteTextFile(a.out, reply->body);
  std::fwrite(reply->body.data(), 1, reply->body.size(), stdout);
  std::putchar('\n');
  return absl::OkStatus();
}

}  // namespace

void AddTraceCommand(CLI::App& app, CommandRun* run) {
  auto a = std::make_shared<Arguments>();
  CLI::App* trace = app.add_subcommand(
      "trace", "Write what every server did for a request, for https://ui.perfetto.dev");
  trace
      ->add_option("request", a->request,
                   "Its name: the X-Request-Id of the answer, or what is behind chatcmpl- or cmpl-")
      ->required();
  trace->add_option("--gateway", a->gateway, "The gateway that answered")->capture_default_str();
  trace->add_option("--api-key-file", a->api_key_file, "A file whose first line is an API key");
  trace->add_option("--out", a->out, "Where the trace goes; standard output else");
  trace->callback([=] { *run = [a] { return Trace(*a); }; });
}

}  // namespace lynx
