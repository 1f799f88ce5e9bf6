#!/bin/sh
# transfer_bench between two network namespaces, over a link shaped to a rate in both directions (needs
# root, iproute2). CONGESTION: TCP congestion control, Debian's own default if not set.
#   bench/transfer_bench.sh PROGRAM [RATE, e.g. 100mbit] [transfer_bench's options]
set -eu
program=$1
rate=${2:-100mbit}
shift
[ $# -gt 0 ] && shift
send=lynx-send-$$
receive=lynx-receive-$$
trap 'ip netns del "$send" 2>/dev/null || :; ip netns del "$receive" 2>/dev/null || :' EXIT
ip netns add "$send"
ip netns add "$receive"
ip -n "$send" link add veth0 type veth peer name veth0 netns "$receive"
ip -n "$send" address add 10.77.0.1/24 dev veth0
ip -n "$receive" address add 10.77.0.2/24 dev veth0
for ns in "$send" "$receive"; do
  ip -n "$ns" link set veth0 up
  ip -n "$ns" route replace 10.77.0.0/24 dev veth0 congctl "${CONGESTION:-cubic}"
  tc -n "$ns" qdisc add dev veth0 root tbf rate "$rate" burst 32k latency 20ms
done
ip netns exec "$send" "$program" --host 10.77.0.1 --receiver-netns "/run/netns/$receive" "$@"
