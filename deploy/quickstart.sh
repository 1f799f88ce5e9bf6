#!/usr/bin/env bash
# From a fresh Debian 12 to a running server: installs packages, builds, fetches the demo model, runs
# `lynx up`, sends a first request and says how to go on. Ctrl-C stops the server.
#
#   deploy/quickstart.sh [--once] [--port 8000]
#
# --once stops the server after that request.
set -euo pipefail
script="$(realpath "${BASH_SOURCE[0]}")"
cd "$(dirname "$script")/.."

once=false
port=8000
while [[ $# -gt 0 ]]; do
  case "$1" in
    --once) once=true ;;
    --port) port="${2:?--port needs a number}"; shift ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$script" >&2; exit 2 ;;
  esac
  shift
done

url="http://127.0.0.1:$port"
model=models/smollm2-135m-instruct.gguf
log=out/quickstart.log
server=""

fail() {
  echo "quickstart: $*" >&2
  exit 1
}

stop_server() {
  [[ -n "$server" ]] || return 0
  kill -TERM "$server" 2> /dev/null || true
  for _ in $(seq 600); do
    kill -0 "$server" 2> /dev/null || break
    sleep 0.1
  done
  kill -KILL -- "-$server" 2> /dev/null || true  # its whole process group, should any be left
  server=""
}
trap stop_server EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { echo "== $*"; }

step "packages"
deploy/install-deps.sh || fail "packages could not be installed"
step "build (minutes, the first time)"
cmake --preset release > /dev/null || fail "the build could not be configured"
cmake --build --preset release -j "$(nproc)" --target lynx lynx-gateway lynx-prefill lynx-decode ||
  fail "the build failed"
step "demo model"
deploy/fetch-demo-model.sh || fail "the demo model could not be fetched"

step "lynx up --model $model --port $port"
if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
  fail "port $port is taken: choose another with --port"
fi
mkdir -p out
setsid build/release/bin/lynx up --model "$model" --port "$port" > "$log" 2>&1 < /dev/null &
server=$!
healthy=false
for _ in $(seq 600); do
  curl -fsS -o /dev/null "$url/health" 2> /dev/null && { healthy=true; break; }
  kill -0 "$server" 2> /dev/null || break
  sleep 0.2
done
if ! $healthy; then
  tail -n 30 "$log" >&2
  fail "the server did not become healthy; all of its log is in $log"
fi

step "first request"
request='{"messages": [{"role": "user", "content": "What is the capital of France?"}],
  "max_tokens": 64, "temperature": 0}'
echo "curl $url/v1/chat/completions -H 'Content-Type: application/json' -d '$request'"
reply="$(curl -sS --fail-with-body --max-time 120 "$url/v1/chat/completions" \
  -H 'Content-Type: application/json' -d "$request")" || fail "the request failed: $reply (log: $log)"
python3 -c 'import json, sys; print(json.load(sys.stdin)["choices"][0]["message"]["content"])' \
  <<< "$reply" || fail "this is no answer: $reply"

if $once; then
  step "stopping"
  stop_server
  exit 0
fi
cat <<EOF

The server answers at $url/v1 until you press Ctrl-C; its log is $log. Try

  curl -N $url/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"messages": [{"role": "user", "content": "Tell me a story."}], "stream": true}'

or with Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="$url/v1", api_key="none")
  for chunk in client.chat.completions.create(
      model=client.models.list().data[0].id, stream=True,
      messages=[{"role": "user", "content": "Tell me a story."}]):
    print(chunk.choices[0].delta.content or "", end="", flush=True)

Next time: build/release/bin/lynx up --model $model
Options: config/lynx.json. More: README.md, docs/.
EOF
wait "$server" || fail "the server ended: see $log"
