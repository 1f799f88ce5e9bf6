#include "gateway/ordered_fields.h"

#include <catch2/catch.hpp>

#include "gateway/api_error.h"
#include "gateway/openai_request.h"

namespace lynx {
namespace {

std::string Fields(std::string_view body, std::vector<std::string_view> names) {
  const absl::StatusOr<OrderedJson> fields = ParseOrderedFields(body, std::move(names));
  return fields.ok() ? fields->dump() : "param " + ToApiError(fields.status(), 1).param;
}

// {"k0":0,"k1":1,...}
std::string ObjectOf(size_t keys) {
  std::string out = "{";
  for (size_t i = 0; i < keys; ++i) {
    out += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  }
  return out + "}";
}

}  // namespace

TEST_CASE("the wanted fields keep their keys' order, others are passed over") {
  CHECK(Fields(R"({"x":{"w":[1]},"w":{"z":1,"a":{"c":[{"y":0,"b":null}],"b":-2}},"v":[{"w":3}],
                   "u":["s",1.5,true,18446744073709551615,[],{}]})",
               {"w", "u"}) == R"({"w":{"z":1,"a":{"c":[{"y":0,"b":null}],"b":-2}},)"
                              R"("u":["s",1.5,true,18446744073709551615,[],{}]})");
  CHECK(Fields(R"({"a":1})", {"w"}) == "{}");
  CHECK(Fields(R"({"w":"text"})", {"w"}) == R"({"w":"text"})");
}

TEST_CASE("of a key given twice the last value counts, as in Python") {
  CHECK(Fields(R"({"w":{"a":1,"b":2,"a":{"c":3}}})", {"w"}) == R"({"w":{"a":{"c":3},"b":2}})");
  CHECK(Fields(R"({"w":[1,2],"x":0,"w":{"a":1}})", {"w"}) == R"({"w":{"a":1}})");
}

TEST_CASE("an ordered object's keys are limited, others' are not") {
  CHECK(Fields(R"({"w":[)" + ObjectOf(kMaxOrderedKeys) + "]}", {"w"}).size() > 1000);
  CHECK(Fields(R"({"w":[)" + ObjectOf(kMaxOrderedKeys + 1) + "]}", {"w"}) == "param w");
  CHECK(Fields(R"({"x":)" + ObjectOf(20000) + "}", {"w"}) == "{}");
  // A repeated key is none more.
  std::string repeated = ObjectOf(kMaxOrderedKeys);
  repeated.insert(repeated.size() - 1, R"(,"k0":"again")");
  CHECK(Fields(R"({"w":)" + repeated + "}", {"w"}).find(R"("k0":"again")") != std::string::npos);
}

TEST_CASE("a chat request's messages and template variables are ordered") {
  const auto chat = ParseChatRequest(
      R"({"messages":[{"role":"user","content":"x","meta":{"z":1,"a":2}}],
          "chat_template_kwargs":{"q":1,"b":2},"logit_bias":)" +
          ObjectOf(0) + "}",
      {});
  REQUIRE(chat.ok());
  CHECK(chat->messages.dump() == R"([{"role":"user","content":"x","meta":{"z":1,"a":2}}])");
  CHECK(chat->template_kwargs.dump() == R"({"q":1,"b":2})");
  const auto refused =
      ParseChatRequest(R"({"messages":[{"role":"user","content":"x"}],"chat_template_kwargs":)" +
                           ObjectOf(kMaxOrderedKeys + 1) + "}",
                       {});
  CHECK(ToApiError(refused.status(), 1).param == "chat_template_kwargs");
}

}  // namespace lynx
