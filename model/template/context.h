// What filters, tests, methods and functions see of a rendering, and the helpers they share.
#pragma once

#include <ctime>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/template/budget.h"
#include "model/template/value.h"

namespace lynx::jinja {

struct Context {
  Context(const Limits& limits, const std::tm& t) : budget(limits), now(t) {}

  // Owns objects until the rendering ends.
  template <typename T, typename... A>
  absl::StatusOr<T*> New(A&&... a) {
    // Objects are kept to the end, so each pays for more than a step.
    if (absl::Status s = budget.Steps(16); !s.ok()) return s;
    auto object = std::make_unique<T>(std::forward<A>(a)...);
    T* p = object.get();
    arena.push_back(std::move(object));
    return p;
  }

  Budget budget;
  std::tm now;
  std::vector<std::unique_ptr<Object>> arena;
};

struct NamespaceObject : Object {
  NamespaceObject() : Object(Kind::kNamespace) {}
  absl::flat_hash_map<std::string, Value> attributes;
};
struct CyclerObject : Object {
  CyclerObject() : Object(Kind::kCycler) {}
  std::vector<Value> items;
  size_t position = 0;
};
struct JoinerObject : Object {
  JoinerObject() : Object(Kind::kJoiner) {}
  Text separator;
  bool used = false;
};

// The arguments in the order of `names`, null where not given. Errors: unknown, doubled, missing.
absl::StatusOr<std::vector<const Value*>> BindArgs(std::string_view callee, const Args& args,
                                                   std::initializer_list<std::string_view> names,
                                                   size_t required = 0);
absl::StatusOr<int64_t> IntArg(const Value* v, int64_t otherwise);
// None counts as absent.
absl::StatusOr<const Text*> TextArg(const Value* v);

absl::StatusOr<Value> MakeText(Context& ctx, Text text);

}  // namespace lynx::jinja
