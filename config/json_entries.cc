#include "config/json_entries.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>

namespace lynx {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 8;

// Hands the text to the parser and counts what it took: the parser itself tells its callbacks no
// position. It reads no further than the token that a callback is about, but for numbers, which
// begin no entry.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, size_t* taken) : at_(at), taken_(taken) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*taken_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) {
    return a.at_ == b.at_;
  }
  friend bool operator!=(const CountingIterator& a, const CountingIterator& b) { return !(a == b); }

 private:
  const char* at_;
  size_t* taken_;
};

// The parser's callbacks. Each returns false to stop, with status() set.
class EntryBuilder {
 public:
  EntryBuilder(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  size_t* taken() { return &taken_; }
  const absl::Status& status() const { return status_; }
  std::vector<JsonEntry> TakeEntries() { return std::move(entries_); }

  bool null() { return Value(nullptr); }
  bool boolean(bool v) { return Value(v); }
  bool number_integer(json::number_integer_t v) { return Value(v); }
  bool number_unsigned(json::number_unsigned_t v) { return Value(v); }
  bool number_float(json::number_float_t v, const std::string&) { return Value(v); }
  bool string(std::string& v) { return Value(v); }
  bool binary(json::binary_t&) { return Fail("binary values are no config"); }

  bool start_object(size_t) {
    if (in_array_) return Fail(entries_.back().path + ": a list holds no objects");
    if (depth_ == kMaxDepth) return Fail("objects are nested too deeply");
    if (depth_++ > 0) {
      entries_.back().is_object = true;
      prefixes_.push_back(entries_.back().path + ".");
    }
    return true;
  }
  bool end_object() {
    if (--depth_ > 0) prefixes_.pop_back();
    return true;
  }
  bool key(std::string& name) {
    const std::string path = (prefixes_.empty() ? "" : prefixes_.back()) + name;
    // Else "a.b" at the top would be taken for b in section a.
    if (name.find('.') != std::string::npos) {
      return Fail(path + ": a key holds no dot; sections are objects");
    }
    const int line = Line();
    const auto [it, is_new] = lines_.emplace(path, line);
    if (!is_new) {
      return Fail(absl::StrCat(path, ": given twice, first on line ", it->second));
    }
    entries_.push_back({path, line, false, nullptr});
    return true;
  }
  bool start_array(size_t) {
    if (depth_ == 0) return Fail("the config must be an object");
    if (in_array_) return Fail(entries_.back().path + ": a list holds no lists");
    in_array_ = true;
    entries_.back().value = json::array();
    return true;
  }
  bool end_array() {
    in_array_ = false;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const json::exception& error) {
    taken_ = position > 0 ? position - 1 : 0;  // the character that is wrong may be a line's end
    // "[json.exception.parse_error.101] parse error at line 1, column 2: what is wrong"
    std::string what = error.what();
    for (const char* skip : {"] ", "column "}) {
      const size_t at = what.find(skip);
      if (at != std::string::npos) what = what.substr(at + std::string_view(skip).size());
    }
    const size_t colon = what.find(": ");
    if (colon != std::string::npos && colon < 8) what = what.substr(colon + 2);
    return Fail(what);
  }

 private:
  int Line() const {
    const auto end = text_.begin() + static_cast<std::ptrdiff_t>(std::min(taken_, text_.size()));
    // Entries come in order: count on from the last one.
    if (counted_ > static_cast<size_t>(end - text_.begin())) {
      counted_ = 0;
      line_ = 1;
    }
    line_ += static_cast<int>(
        std::count(text_.begin() + static_cast<std::ptrdiff_t>(counted_), end, '\n'));
    counted_ = static_cast<size_t>(end - text_.begin());
    return line_;
  }

  bool Value(json value) {
    if (depth_ == 0) return Fail("the config must be an object");
    json& target = entries_.back().value;
    if (in_array_) {
      target.push_back(std::move(value));
    } else {
      target = std::move(value);
    }
    return true;
  }

  bool Fail(const std::string& what) {
    status_ = absl::InvalidArgumentError(absl::StrCat(name_, ":", Line(), ": ", what));
    return false;
  }

  const std::string_view text_;
  const std::string& name_;
  size_t taken_ = 0;
  mutable size_t counted_ = 0;  // characters whose line ends are in line_
  mutable int line_ = 1;
  size_t depth_ = 0;
  bool in_array_ = false;
  std::vector<std::string> prefixes_;
  std::unordered_map<std::string, int> lines_;
  std::vector<JsonEntry> entries_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<JsonEntry>> ReadJsonEntries(std::string_view text,
                                                       const std::string& name) {
  if (text.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": a config file has at most ", kMaxConfigBytes, " bytes"));
  }
  EntryBuilder builder(text, name);
  CountingIterator begin(text.data(), builder.taken());
  CountingIterator end(text.data() + text.size(), builder.taken());
  const bool parsed = json::sax_parse(begin, end, &builder, json::input_format_t::json,
                                      /*strict=*/true, /*ignore_comments=*/true);
  if (!parsed) {
    return builder.status().ok() ? absl::InvalidArgumentError(name + ": no valid JSON")
                                 : builder.status();
  }
  return builder.TakeEntries();
}

}  // namespace lynx
