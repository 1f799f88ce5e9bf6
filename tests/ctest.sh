#!/usr/bin/env bash
# tests/ctest.sh BUILD_DIR [CTEST_ARG...]: runs the tests; the last line reads "N passed, N failed" and, if
# some could not run, ", N skipped", which is a failure where CI is set.
set -uo pipefail
build="$1"
shift
report="$build/ctest-report.xml"
rm -f "$report"
ctest --test-dir "$build" --output-on-failure -j "$(nproc)" --no-tests=error \
  --output-junit "$(realpath -m "$report")" "$@"
status=$?
python3 - "$report" "$status" "${CI:-}" <<'PY'
import sys, xml.etree.ElementTree as tree
report, status, ci = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try:
    cases = [case.get("status") for case in tree.parse(report).getroot().iter("testcase")]
except (OSError, tree.ParseError):
    cases = ["fail"]
passed = cases.count("run")
skipped = cases.count("notrun") + cases.count("disabled")
failed = len(cases) - passed - skipped
if status != 0 and failed == 0:
    # A test whose program is missing is "notrun" too: ctest knows better.
    failed, skipped = max(1, skipped), 0
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or (ci and skipped) else 0)
PY
