#!/usr/bin/env bash
# Installs what Lynx builds with, from Debian 12's own packages. Run as root (or with sudo).
# `--tests` adds what the tests and the linters need.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
packages=(
  g++ cmake ninja-build ccache pkg-config git curl ca-certificates unzip python3 python3-pip
  libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler libabsl-dev libspdlog-dev
  nlohmann-json3-dev catch2 libsimde-dev libboost1.81-dev libonig-dev prometheus-cpp-dev libcli11-dev libssl-dev
  libxxhash-dev libutf8proc-dev
)
if [[ "${1:-}" == "--tests" ]]; then
  packages+=(clang-14 libclang-rt-14-dev llvm-14 clang-format-14 clang-tidy-14 python3-jinja2 procps
    systemd dpkg-dev)
  # Any kubectl will do; other vendors' packages of it cannot be installed beside Debian's.
  command -v kubectl > /dev/null || packages+=(kubernetes-client)
fi
sudo_cmd=()
[[ $EUID -eq 0 ]] || sudo_cmd=(sudo)

# promtool alone: its package would start a Prometheus and bring a web page's libraries.
install_promtool() {
  local folder
  folder="$(mktemp -d)"
  (cd "$folder" && apt-get download -qq prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool)
  "${sudo_cmd[@]}" install -m 755 "$folder/usr/bin/promtool" /usr/local/bin/promtool
  rm -rf "$folder"
}

missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
promtool=0
[[ "${1:-}" != "--tests" ]] || command -v promtool >/dev/null || promtool=1
[[ ${#missing[@]} -eq 0 && $promtool -eq 0 ]] && exit 0
"${sudo_cmd[@]}" apt-get update -qq
[[ ${#missing[@]} -eq 0 ]] || "${sudo_cmd[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
[[ $promtool -eq 0 ]] || install_promtool
