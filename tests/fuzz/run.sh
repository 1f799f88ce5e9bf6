#!/usr/bin/env bash
# tests/fuzz/run.sh SECONDS BUILD_DIR [NAME...]: runs every fuzz target (or those named) so long, one on
# each core, starting from the kept corpus. Prints a line for each and fails if any crashed, leaked or
# hung; the input that did it stays in BUILD_DIR/fuzz-findings. 0 seconds: the corpus alone.
# FUZZ_SEED chooses what is tried, 0 (and nothing) something new each time.
set -euo pipefail
if [[ $# -lt 2 ]]; then
  echo "usage: tests/fuzz/run.sh SECONDS BUILD_DIR [NAME...]" >&2
  exit 2
fi
seconds="$1"
build="$(cd "$2" && pwd)"
shift 2
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$build/fuzz-findings"

run_one() {
  local name="$1" program="$build/bin/${1}_fuzz" log="$work/$1.log"
  mkdir -p "$work/$name"
  # The corpus grows while fuzzing: in a copy, so that the checkout stays as it is.
  cp "$here/corpus/$name"/* "$work/$name/"
  local limit="-max_total_time=$seconds"
  ((seconds > 0)) || limit=-runs=0
  if "$program" "$limit" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
      -max_len=65536 -seed="${FUZZ_SEED:-0}" -print_final_stats=1 -artifact_prefix="$build/fuzz-findings/$name-" \
      "$work/$name" > "$log" 2>&1; then
    awk -v name="$name" '/^stat::number_of_executed_units/ {runs = $2} / cov: / {line = $0}
      END { match(line, /cov: [0-9]+/); print "fuzz " name ": ok, " runs " runs, " substr(line, RSTART, RLENGTH) }' "$log"
  else
    tail -n 60 "$log" >&2
    echo "fuzz $name: FAILED, see $build/fuzz-findings"
    return 1
  fi
}
export -f run_one
export seconds build here work

names=("$@")
if [[ ${#names[@]} -eq 0 ]]; then
  for source in "$here"/*_fuzz.cc; do names+=("$(basename "$source" _fuzz.cc)"); done
fi
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run_one {}'
