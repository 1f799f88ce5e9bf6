#!/usr/bin/env bash
# tests/gpu.sh [--packages DIR] [REPORT_DIR]: builds and runs on this machine's GPU what tests and measures
# the GPU path. Needs no network, and of Debian's packages only those named below (docs/gpu.md).
#
#   --packages DIR  a folder with the .deb files of what is not installed; nothing is installed from it
#   REPORT_DIR      where logs, nvidia-smi's words and the bench's JSON go (default: out/gpu)
#
# Exit status: 0 all passed, 1 something failed, 2 this machine lacks something. The last line reads
# "N passed, N failed".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
source tests/gpu/steps.sh
source tests/gpu/machine.sh

debs=""
if [[ "${1:-}" == "--packages" ]]; then
  debs="${2:?--packages needs a folder}"
  shift 2
fi
[[ "${1:-}" != -* ]] || { sed -n '2,9s/^# \?//p' "$0" >&2; exit 1; }
report="$(realpath -m "${1:-out/gpu}")"
build="$PWD/build/gpu-tests"
mkdir -p "$report" "$build"

[[ -z "$debs" ]] || unpack_packages "$debs" "$build/packages"
require_machine
choose_components
nvidia-smi -q > "$report/nvidia-smi.txt" 2>&1
echo "tests/gpu.sh: $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)"

# This machine's compiler may know warnings that ours do not.
step configure cmake --preset gpu-tests -G "$generator" -DLYNX_WERROR=OFF \
  -DLYNX_COMPONENTS="$components" \
  -DCMAKE_CUDA_ARCHITECTURES="$(gpu_architecture)" || finish
step build cmake --build "$build" --target gpu_tests -j "$(nproc)" || finish

programs=()
while IFS= read -r program; do programs+=("$program"); done < <(gpu_programs "$build/bin")
for program in "${programs[@]}"; do
  step "$program" timeout 600 "$build/bin/$program"
done
step bench timeout 900 "$build/bin/gpu_kernel_bench" --json "$report/gpu_kernel_bench.json"

# Whole tests take hours under it: one small case a kernel.
if command -v compute-sanitizer > /dev/null; then
  for tool in memcheck racecheck synccheck; do
    step "sanitizer-$tool" sanitized "$tool" "$build/bin/gpu_kernel_bench" --tiny
    step "sanitizer-$tool-attention" sanitized "$tool" "$build/bin/cuda_attention_test" "lengths over code pages"
  done
else
  echo "tests/gpu.sh: compute-sanitizer is not in the PATH: skipped"
fi
finish
