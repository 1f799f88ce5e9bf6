// A byte string that knows, for each byte, whether it came from a client's message or from the
// template. All string operations keep this, so that a special token spelled in a message is never
// taken for one that the template wrote.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lynx::jinja {

class Text {
 public:
  // Bytes [end of the previous run, end) have one origin. Neighbours differ in from_user.
  struct Run {
    size_t end;
    bool from_user;
    friend bool operator==(const Run&, const Run&) = default;
  };

  Text() = default;
  explicit Text(std::string_view bytes, bool from_user = false) { Append(bytes, from_user); }

  void Append(std::string_view bytes, bool from_user);
  void Append(const Text& other) { AppendRange(other, 0, other.size()); }
  // Bytes [begin, end) of `other`, which is not this text.
  void AppendRange(const Text& other, size_t begin, size_t end);
  Text Range(size_t begin, size_t end) const;

  const std::string& str() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  const std::vector<Run>& runs() const { return runs_; }
  // Origin of the byte at `offset` < size().
  bool FromUserAt(size_t offset) const { return runs_[RunAt(offset)].from_user; }

 private:
  size_t RunAt(size_t offset) const;

  std::string bytes_;
  std::vector<Run> runs_;
};

}  // namespace lynx::jinja
