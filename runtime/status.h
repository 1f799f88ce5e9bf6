// Errors of peers, disks and clients are an absl::Status; our own bugs are a LYNX_CHECK. Bytes from
// outside must never reach a LYNX_CHECK.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#define LYNX_STATUS_CONCAT_(a, b) a##b
#define LYNX_STATUS_CONCAT(a, b) LYNX_STATUS_CONCAT_(a, b)

// Returns from the calling function if `expr` is not OK.
#define RETURN_IF_ERROR(expr)                    \
  do {                                           \
    absl::Status lynx_status_ = (expr);          \
    if (!lynx_status_.ok()) return lynx_status_; \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()): x = *F(), or returns F()'s error.
#define ASSIGN_OR_RETURN(lhs, expr) \
  LYNX_ASSIGN_OR_RETURN_(LYNX_STATUS_CONCAT(lynx_statusor_, __LINE__), lhs, expr)
#define LYNX_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                           \
  if (!tmp.ok()) return tmp.status();          \
  lhs = std::move(*tmp)

// A broken invariant of ours: prints where and aborts. Active in every build.
#define LYNX_CHECK(cond)                                                                \
  do {                                                                                  \
    if (!(cond)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #cond); \
      std::abort();                                                                     \
    }                                                                                   \
  } while (false)

namespace lynx {

// Debian's Abseil has a string_view of its own.
inline absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }

// The status with `context` put before its message: "context: message".
inline absl::Status Annotate(const absl::Status& s, std::string_view context) {
  if (s.ok()) return s;
  return absl::Status(  // the same code, a longer message
      s.code(), absl::StrCat(ToAbsl(context), ": ", s.message()));
}

}  // namespace lynx
