#!/usr/bin/env bash
# Fails, with the places, if a source is not as .clang-format wants it. `--fix` formats instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if ! command -v clang-format-14 > /dev/null; then
  echo "clang-format-14 is missing: deploy/install-deps.sh --tests" >&2
  exit 77  # skipped, which tests/run.sh does not accept in CI
fi
mode=(--dry-run -Werror)
[[ "${1:-}" == "--fix" ]] && mode=(-i)
find . -path ./build -prune -o -path ./models -prune -o -path ./out -prune -o -path './.*' -prune -o \
  -path ./shared -prune -o \( -name '*.cc' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 -n 40 -P "$(nproc)" clang-format-14 "${mode[@]}"
