#include "error.h"

#include <cstdio>
#include <mutex>

#include "api.h"

namespace simt {
namespace {

struct State {
  std::mutex mutex;
  std::string text;
};
State& TheState() {
  static State* state = new State;
  return *state;
}

}  // namespace

void SetError(const char* text) {
  State& s = TheState();
  const std::lock_guard lock(s.mutex);
  if (!s.text.empty()) return;
  s.text = text;
  fprintf(stderr, "simt: %s\n", text);
}

bool HasError() {
  State& s = TheState();
  const std::lock_guard lock(s.mutex);
  return !s.text.empty();
}

std::string LastError() {
  State& s = TheState();
  const std::lock_guard lock(s.mutex);
  return s.text;
}

void ResetError() {
  State& s = TheState();
  const std::lock_guard lock(s.mutex);
  s.text.clear();
}

}  // namespace simt
