// The program's command line: what it prints and returns.
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace {

struct Output {
  int exit_code = -1;
  std::string text;  // stdout and stderr
};

Output Lynx(const std::string& arguments) {
  Output output;
  std::FILE* pipe = popen((std::string(LYNX_PROGRAM) + " " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0) output.text.append(buffer, got);
  output.exit_code = WEXITSTATUS(pclose(pipe));
  return output;
}

const std::string kModel = LYNX_TEST_DATA "/models/tiny-llama.gguf";

// One line that holds `what`, and this exit code.
void RequireError(const std::string& arguments, int exit_code, const std::string& what) {
  const Output output = Lynx(arguments);
  CAPTURE(arguments, output.text);
  CHECK(output.exit_code == exit_code);
  CHECK(output.text.find("lynx: ") == 0);
  CHECK(output.text.find(what) != std::string::npos);
  CHECK(output.text.find('\n') == output.text.size() - 1);
}

}  // namespace

TEST_CASE("generate prints the text, or JSON with the same text") {
  const std::string request = "generate --model " + kModel + " --prompt 'the dog' --max-tokens 12";
  const Output plain = Lynx(request);
  CAPTURE(plain.text);
  CHECK(plain.exit_code == 0);
  for (const char* how : {" --json", " --json --reference"}) {
    const Output json = Lynx(request + how);
    CAPTURE(json.text);
    REQUIRE(json.exit_code == 0);
    const auto parsed = nlohmann::json::parse(json.text);
    CHECK(parsed["text"].get<std::string>() + "\n" == plain.text);
    CHECK(parsed["tokens"].size() <= 12);
  }
}

TEST_CASE("a chat's prompt differs from the raw one") {
  const std::string request =
      "generate --model " + kModel + " --prompt 'the dog' --max-tokens 12 --json";
  const auto raw = nlohmann::json::parse(Lynx(request).text);
  const auto chat = nlohmann::json::parse(Lynx(request + " --chat").text);
  CHECK(raw["tokens"] != chat["tokens"]);
}

TEST_CASE("wrong command lines are one clear line and exit code 2") {
  RequireError("", 2, "subcommand");
  RequireError("generate --prompt a", 2, "--model");
  RequireError("generate --model " + kModel, 2, "--prompt");
  RequireError("generate --model m --prompt a --promt-file b", 2, "--promt-file");
  RequireError("generate --model m --prompt a --kv-target int7", 2, "int7");
  RequireError("bench nothing", 2, "subcommand");
  RequireError("up --device tpu --model m", 2, "tpu");
  RequireError("probe", 2, "url");
  RequireError("trace", 2, "request");
  RequireError("probe http://localhost:1/ --timeout -1", 2, "--timeout");
}

TEST_CASE("what goes wrong later is one clear line and exit code 1") {
  RequireError("generate --model /nowhere.gguf --prompt a", 1, "/nowhere.gguf");
  RequireError("generate --model " + kModel + " --prompt-file /nowhere.txt", 1, "/nowhere.txt");
  RequireError("generate --model " + kModel + " --prompt ''", 1, "empty");
  RequireError("generate --model " + kModel + " --prompt a --link 5parsec", 1, "5parsec");
  RequireError("generate --model " + kModel + " --prompt a --anchor-bits 9,9", 1, "9,9");
  RequireError("generate --model " + kModel + " --prompt a --top-p 2", 1, "top_p");
  RequireError("up --device cuda --model " + kModel, 1, "cuda");
  RequireError("up --prefill.device=cuda --model " + kModel, 1, "decode.device is cpu");
  RequireError("up", 1, "--model");
  RequireError("up --model /nowhere.gguf", 1, "/nowhere.gguf");
  RequireError("up --model " + kModel + " --gateway.prt=1", 1, "gateway.port");
  RequireError("check-config /nowhere.json", 1, "/nowhere.json");
  for (const char* url : {"ftp://localhost:1/", "http://localhost/health", "http://:80/",
                          "grpc://localhost:70000", "grpc://localhost:1/service"}) {
    RequireError(std::string("probe ") + url, 1, "neither");
  }
  RequireError("probe http://127.0.0.1:1/health", 1, "does not answer");
  RequireError("trace some-request --gateway http://127.0.0.1:1", 1, "http://127.0.0.1:1: ");
  RequireError("trace 'a/../b'", 1, "X-Request-Id");
  RequireError("trace a --api-key-file /nowhere.txt", 1, "/nowhere.txt");
  RequireError("probe grpc://127.0.0.1:1 --timeout 60", 1, "grpc://127.0.0.1:1: ");
}

TEST_CASE("config commands") {
  const Output check = Lynx("check-config " LYNX_SOURCE_DIR "/config/lynx.json");
  CAPTURE(check.text);
  CHECK(check.exit_code == 0);
  const Output dump = Lynx("dump-config --kv.target=bf16");
  CHECK(dump.exit_code == 0);
  CHECK(dump.text.find("flag --kv.target") != std::string::npos);
  const Output schema = Lynx("print-schema");
  CHECK(schema.exit_code == 0);
  CHECK(nlohmann::json::parse(schema.text).contains("properties"));
}
