#!/usr/bin/env bash
# Prints the preset that tests/run.sh builds: `emulated`, which is `release` and the CUDA backend run on the CPU,
# where the headers of CUDA's toolkit are (it is not in Debian); `release` elsewhere.
set -euo pipefail
if command -v nvcc > /dev/null || [[ -e "${CUDAToolkit_ROOT:-/usr/local/cuda}/include/cuda_runtime.h" ]]; then
  echo emulated
else
  echo release
fi
