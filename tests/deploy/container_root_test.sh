#!/usr/bin/env bash
# The root that deploy/container/collect-root.sh lays out, used as a container would: read-only, without a shell,
# as a user without rights; a request is served, and `lynx probe` sees it.
# usage: container_root_test.sh BIN_DIR MODEL
# Without the right to mount it is skipped (exit code 77).
set -euo pipefail

# Runs in a mount namespace of its own, inside(ROOT, WORK): whatever is mounted is gone with it. What removes
# files runs outside, where nothing was ever mounted below WORK.
inside() {
  local root=$1 work=$2 up_pid url reply
  local enter=(env -i PATH=/usr/bin:/usr/sbin:/bin chroot --userspec=65532:65532 "$root")
  fail() {
    echo "FAILED: $*" >&2
    sed 's/^/  | /' "$work/out" "$work/err" >&2
    kill -9 "$up_pid" || true
    exit 1
  }
  mount --bind "$root" "$root"
  mount --bind /proc "$root/proc"
  mount --bind /dev/null "$root/dev/null"
  mount -o remount,bind,ro "$root"

  "${enter[@]}" lynx up --model /models/model.gguf --threads 1 --port 0 >"$work/out" 2>"$work/err" &
  up_pid=$!
  local end=$((SECONDS + 60))
  until grep -q '^lynx is ready: ' "$work/out"; do
    [[ $SECONDS -lt $end && -e /proc/$up_pid ]] || fail "not ready"
    sleep 0.05
  done
  url=$(sed -n 's/^lynx is ready: .* at \(http[^ ]*\)\/v1$/\1/p' "$work/out")
  "${enter[@]}" lynx probe "$url/health" --timeout 30 || fail "probe"
  reply=$(curl -sS --max-time 60 -H 'Content-Type: application/json' "$url/v1/completions" \
    -d '{"prompt": "the dog", "max_tokens": 8, "temperature": 0, "ignore_eos": true}')
  [[ $reply == *'"completion_tokens":8'* ]] || fail "answer: $reply"
  kill -TERM "$up_pid"
  wait "$up_pid" || fail "it ended with $?"
}

if [[ "$1" == --inside ]]; then
  inside "$2" "$3"
  exit 0
fi

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
unshare --mount true 2>/dev/null || { echo "no right to mount: skipped" >&2; exit 77; }
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
"$here/../../deploy/container/collect-root.sh" "$1" "$root"
shells=$(find "$root" -name '*sh' -type f)
[[ -z $shells ]] || { echo "FAILED: a shell: $shells" >&2; exit 1; }
install -m 0644 "$2" "$root/models/model.gguf"
: >"$root/dev/null"
chmod 755 "$work"
unshare --mount --propagation private "$0" --inside "$root" "$work"
echo ok
