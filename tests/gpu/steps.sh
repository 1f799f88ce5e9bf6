# shellcheck shell=bash disable=SC2154
# Steps of tests/gpu.sh: each counts as passed or failed, its output is kept in $report.
passed=0
failed=0

step() {
  local name="$1" started=$SECONDS status
  shift
  "$@" > "$report/$name.log" 2>&1
  status=$?
  if [[ $status -eq 0 ]]; then
    passed=$((passed + 1))
    echo "ok      $name, $((SECONDS - started)) s"
  else
    failed=$((failed + 1))
    echo "FAILED  $name, $((SECONDS - started)) s, status $status: $report/$name.log"
    tail -n 15 "$report/$name.log" | sed 's/^/    /'
  fi
  return "$status"
}

finish() {
  echo "$passed passed, $failed failed" | tee "$report/summary.txt"
  [[ $failed -eq 0 ]]
  exit
}

# Test programs of the build, all but those that are run in a way of their own.
gpu_programs() {
  (cd "$1" && for program in cuda_*_test nccl_*_test; do [[ -x "$program" ]] && echo "$program"; done)
}

sanitized() {
  local tool="$1"
  shift
  timeout 900 compute-sanitizer --tool "$tool" --error-exitcode 1 "$@"
}
