#!/usr/bin/env bash
# The units as systemd itself reads them: nothing to complain of, and little exposed.
# usage: systemd_test.sh UNITS_FOLDER PROGRAMS_FOLDER
set -euo pipefail
units=$1
programs=$2
exposure_max=25 # in tenths
command -v systemd-analyze > /dev/null || { echo "systemd-analyze is missing: deploy/install-deps.sh --tests"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# exposure UNIT: in tenths.
exposure() {
  systemd-analyze security --no-pager --offline=true "$1" > "$work/report" 2>&1 || { cat "$work/report"; return 1; }
  sed -n 's/.*Overall exposure level for .*: \([0-9]*\)\.\([0-9]\) .*/\1\2/p' "$work/report"
}

# The programs are where they were built.
for unit in lynx-gateway.service lynx-prefill@.service lynx-decode@.service; do
  sed "s#/usr/bin/lynx#$programs/lynx#" "$units/$unit" > "$work/$unit"
  [[ $(grep -c "^Exec.*=$programs/lynx" "$work/$unit") == 2 ]] || fail "$unit: other programs than expected"
done
cp "$work/lynx-decode@.service" "$work/lynx-decode@cpu.service"
cp "$work/lynx-prefill@.service" "$work/lynx-prefill@cpu.service"
mkdir "$work/lynx-decode@0.service.d"
cp "$work/lynx-decode@.service" "$work/lynx-decode@0.service"
cp "$units/gpu.conf" "$work/lynx-decode@0.service.d/"

names=(lynx-gateway.service lynx-decode@cpu.service lynx-prefill@cpu.service lynx-decode@0.service)
complaints=$(systemd-analyze verify --man=no "${names[@]/#/$work/}" 2>&1 | grep lynx || true)
[[ -z $complaints ]] || fail "systemd-analyze verify: $complaints"
# It does complain of what is wrong.
sed 's/^WatchdogSec=.*/WatchdogSec=soon/' "$work/lynx-gateway.service" > "$work/wrong.service"
systemd-analyze verify --man=no "$work/wrong.service" > "$work/report" 2>&1 || true
grep -q 'wrong.service:.*soon' "$work/report" || fail "systemd-analyze verify finds nothing"

for unit in "${names[@]}"; do # the last one is on a GPU
  level=$(exposure "$work/$unit")
  echo "$unit: exposure in tenths: $level"
  [[ -n $level && $level -le $exposure_max ]] || fail "$unit is too exposed: $(cat "$work/report")"
done
echo "ok"
