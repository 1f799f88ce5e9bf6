#!/usr/bin/env bash
# On a fresh Debian 12: installs packages, builds, fetches the models that tests need, runs all tests.
# The last line reads "N passed, N failed". Arguments go to ctest (-R kernels, -LE slow).
#
# Where CUDA's toolkit is, the CUDA backend is built and tested too, on the CPU (docs/gpu.md).
# Without network the tests of real models are skipped and counted as such; where CI is set they must run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deploy/install-deps.sh --tests
preset="$(tests/preset.sh)"
cmake --preset "$preset"
cmake --build --preset "$preset" -j $(($(nproc) + 1))
if ! tests/fetch-models.sh; then
  [[ -z "${CI:-}" ]] || { echo "tests/run.sh: the models could not be fetched" >&2; exit 1; }
  echo "tests/run.sh: the models could not be fetched: their tests are skipped" >&2
fi
exec tests/ctest.sh "build/$preset" "$@"
