#include "gateway/ordered_fields.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gateway/api_error.h"
#include "runtime/status.h"

namespace lynx {
namespace {

// Builds the wanted fields' values from the parser's events and passes over all others. (The
// library's own filter is no help: it goes through all of an array again for each of its elements.)
class FieldBuilder final : public OrderedJson::json_sax_t {
 public:
  explicit FieldBuilder(std::vector<std::string_view> names) : names_(std::move(names)) {}

  OrderedJson Take() { return std::move(root_); }
  // The field with too many keys, if the parse ended by that.
  const std::string& refused_field() const { return refused_field_; }

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(number_integer_t value) override { return Put(value); }
  bool number_unsigned(number_unsigned_t value) override { return Put(value); }
  bool number_float(number_float_t value, const string_t&) override { return Put(value); }
  bool string(string_t& value) override { return Put(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // JSON text has none

  bool start_object(size_t) override { return Open(OrderedJson::object()); }
  bool start_array(size_t) override { return Open(OrderedJson::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (depth_ == 1) {
      field_ = name;
      wanted_ = std::find(names_.begin(), names_.end(), name) != names_.end();
    } else if (wanted_ && open_.back()->size() >= kMaxOrderedKeys &&
               !open_.back()->contains(name)) {
      refused_field_ = field_;
      return false;
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  OrderedJson* Place(OrderedJson value) {
    OrderedJson& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    OrderedJson& place = parent[key_];
    place = std::move(value);
    return &place;
  }

  bool Put(OrderedJson value) {
    if (wanted_) Place(std::move(value));
    return true;
  }
  bool Open(OrderedJson container) {
    if (wanted_) open_.push_back(Place(std::move(container)));
    ++depth_;  // the body itself is depth 1
    return true;
  }
  bool Close() {
    --depth_;
    if (wanted_ && depth_ >= 1) open_.pop_back();
    return true;
  }

  const std::vector<std::string_view> names_;
  OrderedJson root_ = OrderedJson::object();
  // The containers around the next value, outermost first. Only the last one grows, so that the
  // others stay where they are.
  std::vector<OrderedJson*> open_ = {&root_};
  int depth_ = 0;
  bool wanted_ = false;  // the next value belongs to a wanted field
  std::string field_;    // of the body
  std::string key_;
  std::string refused_field_;
};

}  // namespace

absl::StatusOr<OrderedJson> ParseOrderedFields(std::string_view body,
                                               std::vector<std::string_view> names) {
  FieldBuilder builder(std::move(names));
  if (OrderedJson::sax_parse(body.begin(), body.end(), &builder)) return builder.Take();
  const std::string& field = builder.refused_field();
  if (field.empty()) return BadField("", "The body is not valid JSON.");
  return BadField(field, absl::StrCat("`", field, "` holds an object of more than ",
                                      kMaxOrderedKeys, " keys."));
}

}  // namespace lynx
