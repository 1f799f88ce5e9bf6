#!/usr/bin/env bash
# `lynx up` as its users meet it: requests, a prefill process that dies in the middle of one, the end.
# usage: up_test.sh LYNX_PROGRAM MODEL CHANNEL [OPTION OF LYNX UP...]
# CHANNEL is what KV has to move over: tcp, nccl.
set -euo pipefail
lynx=$1
model=$2
channel=$3
options=(--threads 1 "${@:4}")
work=$(mktemp -d)
up_pid=

fail() {
  echo "FAILED: $*" >&2
  sed 's/^/  | /' "$work/out" "$work/err" >&2 || true
  exit 1
}

cleanup() {
  # Takes its children along; it may be gone already.
  [[ -z $up_pid ]] || kill -9 "$up_pid" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# until_true SECONDS COMMAND...: waits for the command to succeed.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.05
  done
}

# child NAME: the pid of lynx's child of that name.
child() {
  local stat fields
  for stat in /proc/[0-9]*/stat; do
    fields=$(cat "$stat" 2>/dev/null) || continue
    [[ $fields == *"($1) "* ]] || continue
    read -r _ parent _ <<<"${fields##*) }"
    if [[ $parent == "$up_pid" ]]; then
      basename "$(dirname "$stat")"
      return 0
    fi
  done
  return 1
}

gone() { [[ ! -e /proc/$1 ]] || grep -q '^State:\sZ' "/proc/$1/status" 2>/dev/null; }

post() { curl -sS --max-time 60 -H 'Content-Type: application/json' "$url/$1" -d "$2"; }

# expect WHAT JSON PYTHON-EXPRESSION-OVER-r
expect() {
  python3 -c 'import json, sys; r = json.loads(sys.argv[1]); sys.exit(not eval(sys.argv[2]))' "$2" "$3" \
    || fail "$1: $2"
}

# A slow link, so that a long prompt's KV is on its way for many seconds.
"$lynx" up --model "$model" --port 0 "${options[@]}" --transfer.link_rate_mbit=0.1 >"$work/out" 2>"$work/err" &
up_pid=$!
ready() { grep -q '^lynx is ready: ' "$work/out" || ! kill -0 "$up_pid" 2>/dev/null; }
until_true 60 ready || fail "not ready"
url=$(sed -n 's/^lynx is ready: .* at \(http[^ ]*\)$/\1/p' "$work/out")
[[ -n $url ]] || fail "no URL"
[[ $(grep -c " ready .* channel=$channel\$" "$work/err") == 2 ]] || fail "KV does not move over $channel"

"$lynx" probe "${url%/v1}/health" --timeout 30 || fail "probe of the gateway"
"$lynx" probe "${url%/v1}/nowhere" --timeout 30 2>/dev/null && fail "probe of a page that is not there"
servers=$(sed -nE 's/.* ready (.* )?address=([^ ]*).*/\2/p' "$work/err" | sort -u)
for server in $servers; do
  [[ $server/v1 == "${url#http://}" ]] \
    || "$lynx" probe "grpc://$server" --timeout 30 || fail "probe of $server"
done
[[ $(wc -w <<<"$servers") == 3 ]] || fail "not three servers: $servers"

name=$(curl -sS --max-time 10 "$url/models" | python3 -c 'import json, sys; print(json.load(sys.stdin)["data"][0]["id"])')
reply=$(post completions "{\"model\": \"$name\", \"prompt\": \"the dog\", \"max_tokens\": 8, \"temperature\": 0, \"ignore_eos\": true}")
expect completion "$reply" 'r["usage"]["completion_tokens"] == 8'
text=$reply
reply=$(post chat/completions "{\"model\": \"$name\", \"messages\": [{\"role\": \"user\", \"content\": \"the dog\"}], \"max_tokens\": 8, \"temperature\": 0, \"ignore_eos\": true}")
expect chat "$reply" 'r["choices"][0]["message"]["role"] == "assistant" and r["usage"]["completion_tokens"] == 8'
post completions "{\"model\": \"$name\", \"prompt\": \"the dog\", \"max_tokens\": 8, \"temperature\": 0, \"ignore_eos\": true, \"stream\": true}" >"$work/stream"
grep -q '^data: \[DONE\]' "$work/stream" || fail "stream without its end: $(cat "$work/stream")"
python3 - "$work/stream" "$text" <<'PY' || fail "the streamed text differs"
import json, sys
chunks = [json.loads(line[6:]) for line in open(sys.argv[1]) if line.startswith("data: {")]
streamed = "".join(c["choices"][0]["text"] for c in chunks if c["choices"])
sys.exit(streamed != json.loads(sys.argv[2])["choices"][0]["text"])
PY

# A request's course through all three servers.
trace_id=0af7651916cd43dd8448eb211c80319c
prompt=$(printf 'the quick brown fox %.0s' {1..25})
curl -sS --max-time 60 -H 'Content-Type: application/json' -H 'X-Request-Id: traced-1' \
  -H "traceparent: 00-$trace_id-b7ad6b7169203331-01" "$url/completions" \
  -d "{\"prompt\": \"$prompt\", \"max_tokens\": 8, \"temperature\": 0, \"ignore_eos\": true}" >"$work/reply"
"$lynx" trace traced-1 --gateway "${url%/v1}" --out "$work/trace" || fail "no trace: $(cat "$work/reply")"
python3 - "$work/trace" "$trace_id" <<'PY' || fail "the trace lacks something: $(cat "$work/trace")"
import json, sys
trace = json.load(open(sys.argv[1]))
assert trace["otherData"] == {"request": "traced-1", "trace_id": sys.argv[2]}, trace["otherData"]
names = {e["pid"]: e["args"]["name"].split()[0] for e in trace["traceEvents"] if e["name"] == "process_name"}
seen = {(names[e["pid"]], e["cat"], e["name"]) for e in trace["traceEvents"] if e["ph"] != "M"}
wanted = {("gateway", "request", "request"), ("gateway", "events", "committed"), ("decode", "request", "request"),
          ("decode", "anchor", "frame"), ("decode", "residual", "frame"), ("decode", "tokens", "first token"),
          ("decode", "tokens", "committed"), ("decode", "request", "KV complete"), ("prefill", "request", "run"),
          ("prefill", "passes", "chunk")}
assert wanted <= seen, wanted - seen
assert any(("decode", "passes", name) in seen for name in ("decode", "verify")), seen
PY
for line in 'role=gateway request done request=traced-1' 'role=decode request done request=traced-1-' 'role=prefill run done request=traced-1-'; do
  until_true 10 grep -q "$line.* trace=$trace_id " "$work/err" || fail "no line: $line"
done

# The prefill process dies while a prompt's KV is on its way.
prompt=$(printf 'the quick brown fox %.0s' {1..150})
python3 -c 'import json, sys; print(json.dumps({"model": sys.argv[1], "prompt": sys.argv[2], "max_tokens": 8, "temperature": 0, "ignore_eos": True, "stream": True}))' \
  "$name" "$prompt" >"$work/long"
curl -sS --no-buffer --max-time 60 -H 'Content-Type: application/json' "$url/completions" -d "@$work/long" >"$work/broken" 2>&1 &
curl_pid=$!
until_true 30 grep -q '^data: ' "$work/broken" || fail "no first token: $(cat "$work/broken")"
prefill=$(child lynx-prefill) || fail "no prefill process"
kill -9 "$prefill"
until_true 2 gone "$curl_pid" || fail "no answer within 2 s of the prefill's death"
wait "$curl_pid" || true
grep -q '"error"' "$work/broken" || fail "no clear error: $(cat "$work/broken")"

# It comes back, and requests work again.
works() {
  reply=$(post completions "{\"model\": \"$name\", \"prompt\": \"the dog\", \"max_tokens\": 8, \"temperature\": 0, \"ignore_eos\": true}") \
    && [[ $reply == *'"completion_tokens":8'* ]]
}
until_true 60 works || fail "requests do not work again: $reply"
[[ $(child lynx-prefill) != "$prefill" ]] || fail "the prefill process was not restarted"
expect "the same text" "$reply" 'r["choices"][0]["text"] == json.loads(sys.argv[1])["choices"][0]["text"]'

pids=("$(child lynx-gateway)" "$(child lynx-decode)" "$(child lynx-prefill)")
kill -TERM "$up_pid"
until_true 60 gone "$up_pid" || fail "SIGTERM does not end it"
wait "$up_pid" || fail "exit code $?"
for pid in "${pids[@]}"; do gone "$pid" || fail "process $pid is left"; done

# Killed itself, it leaves nobody either.
: >"$work/out"  # now: the background process may do it after we have read the first one's lines
"$lynx" up --model "$model" --port 0 "${options[@]}" >"$work/out" 2>"$work/err" &
up_pid=$!
until_true 60 ready || fail "not ready the second time"
pids=("$(child lynx-gateway)" "$(child lynx-decode)" "$(child lynx-prefill)")
kill -9 "$up_pid"
wait "$up_pid" 2>/dev/null || true
for pid in "${pids[@]}"; do until_true 10 gone "$pid" || fail "process $pid is left behind"; done
echo "ok"
