#!/usr/bin/env bash
# tests/with-models.sh FILE... -- PROGRAM [ARG...]: runs a test that needs these files in models/. Without
# them it is reported as skipped (exit code 77); where CI is set, as failed: CI must have fetched them.
set -uo pipefail
models="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/models"
while [[ "$1" != -- ]]; do
  if [[ ! -e "$models/$1" ]]; then
    echo "models/$1 is missing: tests/fetch-models.sh brings it" >&2
    [[ -n "${CI:-}" ]] && exit 1
    exit 77
  fi
  shift
done
shift
"$@" || exit 1  # not its own code, which may happen to be 77
