// The values of a template. Strings, lists and dicts are immutable and shared, as in the immutable
// sandbox that chat templates are written for; namespaces, loops and macros are Objects that live
// in the rendering's arena, so values never form a cycle.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "model/template/text.h"

namespace lynx::jinja {

class Value;
class Dict;
struct Method;

struct Undefined {
  std::shared_ptr<const std::string> why;  // "'x' is undefined"
};
struct None {};

// kItems, kKeys and kValues are a dict's views.
enum class SequenceKind { kList, kTuple, kRange, kItems, kKeys, kValues };
struct Sequence {
  SequenceKind kind;
  std::vector<Value> items;
  int depth;  // nesting, at most kValueDepthMax, so that destructors do not exhaust the stack
};
// What map, select and reversed give: can be walked once, has no length.
struct Iterator {
  std::vector<Value> items;
  int depth;
};
struct BoundMethod;

// Namespaces, macros, loops and global functions: one per rendering, owned by its arena.
struct Object {
  enum class Kind { kNamespace, kMacro, kLoop, kFunction, kCycler, kJoiner };
  explicit Object(Kind k) : kind(k) {}
  virtual ~Object() = default;
  const Kind kind;
};

class Value {
 public:
  using Variant =
      std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
                   std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
                   std::shared_ptr<Iterator>, std::shared_ptr<const BoundMethod>, Object*>;

  Value() : v_(None{}) {}
  explicit Value(bool b) : v_(b) {}
  explicit Value(int64_t i) : v_(i) {}
  explicit Value(double d) : v_(d) {}
  explicit Value(Text text) : v_(std::make_shared<const Text>(std::move(text))) {}
  explicit Value(Object* object) : v_(object) {}
  explicit Value(std::shared_ptr<const Dict> d) : v_(std::move(d)) {}
  explicit Value(std::shared_ptr<Iterator> d) : v_(std::move(d)) {}
  explicit Value(std::shared_ptr<const Sequence> d) : v_(std::move(d)) {}
  explicit Value(std::shared_ptr<const BoundMethod> d) : v_(std::move(d)) {}
  static Value Undef(std::string why);
  static Value Str(std::string_view s) { return Value(Text(s)); }
  // Errors: items nested deeper than kValueDepthMax.
  static absl::StatusOr<Value> Seq(SequenceKind kind, std::vector<Value> items);
  static absl::StatusOr<Value> List(std::vector<Value> items) {
    return Seq(SequenceKind::kList, std::move(items));
  }
  static absl::StatusOr<Value> Iter(std::vector<Value> items);
  static absl::StatusOr<Value> Bound(Value self, const Method* method);

  bool IsUndefined() const { return std::holds_alternative<Undefined>(v_); }
  bool IsNone() const { return std::holds_alternative<None>(v_); }
  // Null if the value is of another type.
  const bool* AsBool() const { return std::get_if<bool>(&v_); }
  const int64_t* AsInt() const { return std::get_if<int64_t>(&v_); }
  const double* AsFloat() const { return std::get_if<double>(&v_); }
  const Text* AsText() const { return Get<std::shared_ptr<const Text>>(); }
  const Sequence* AsSequence() const { return Get<std::shared_ptr<const Sequence>>(); }
  const Dict* AsDict() const { return Get<std::shared_ptr<const Dict>>(); }
  Iterator* AsIterator() const { return Get<std::shared_ptr<Iterator>>(); }
  const BoundMethod* AsBound() const { return Get<std::shared_ptr<const BoundMethod>>(); }
  Object* AsObject() const {
    auto* p = std::get_if<Object*>(&v_);
    return p == nullptr ? nullptr : *p;
  }
  // A bool is an integer too, as in Python.
  bool ToInt(int64_t* out) const;
  bool ToDouble(double* out) const;
  bool IsNumber() const { return AsBool() || AsInt() || AsFloat(); }
  const std::string& WhyUndefined() const { return *std::get<Undefined>(v_).why; }

  bool Truth() const;
  std::string TypeName() const;  // as Python names it
  int Depth() const;

 private:
  template <typename P>
  auto Get() const -> decltype(std::declval<const P&>().get()) {
    const P* p = std::get_if<P>(&v_);
    return p == nullptr ? nullptr : p->get();
  }
  Variant v_;
};

struct BoundMethod {
  Value self;
  const Method* method;
  int depth;
};

// Keys in order of insertion; equal keys (1, 1.0 and True too) are one.
class Dict {
 public:
  struct Entry {
    Value key;
    Value value;
  };
  // Errors: a key that cannot be hashed, values nested too deeply. A later duplicate replaces the
  // earlier value and keeps its place.
  static absl::StatusOr<Value> Make(std::vector<Entry> entries);

  const std::vector<Entry>& entries() const { return entries_; }
  const Value* Find(std::string_view key) const;
  absl::StatusOr<const Value*> Find(const Value& key) const;
  int depth() const { return depth_; }

 private:
  const Value* Lookup(const std::string& canonical) const;
  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string, size_t> index_;
  int depth_ = 1;
};

// A key under which equal values, and only they, agree. Errors: unhashable values.
absl::StatusOr<std::string> CanonicalKey(const Value& v);

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

}  // namespace lynx::jinja
