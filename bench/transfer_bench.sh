#!/bin/sh
# transfer_bench on a loopback shaped to a link's rate, in a network namespace of its own (needs root, iproute2).
#   bench/transfer_bench.sh PROGRAM [RATE, e.g. 100mbit] [transfer_bench's options]
set -eu
program=$1
rate=${2:-100mbit}
shift
[ $# -gt 0 ] && shift
exec unshare -n sh -c '
  set -eu
  ip link set lo mtu 1500 up
  tc qdisc add dev lo root tbf rate "$1" burst 32k latency 20ms
  program=$2
  shift 2
  exec "$program" "$@"
' sh "$rate" "$program" "$@"
