#!/usr/bin/env bash
# Installs a build and its systemd units, or brings them up to date; starts nothing. docs/operations.md says how to
# go on. Configuration that is there stays as it is.
#   install.sh [--build build/release] [--prefix /usr/local] [--root DIR]
#   install.sh --uninstall [--prefix /usr/local] [--root DIR]    leaves /etc/lynx, /var/lib/lynx and the user
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
build="$here/../../build/release"
prefix=/usr/local
root=
uninstall=

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit "$1"
}

while [[ $# -gt 0 ]]; do
  case "$1" in
    --build | --prefix | --root)
      [[ $# -ge 2 ]] || usage 2 >&2
      declare "${1#--}=$2"
      shift
      ;;
    --uninstall) uninstall=yes ;;
    --help) usage 0 ;;
    *) usage 2 >&2 ;;
  esac
  shift
done
root="${root%/}"
[[ $prefix == /* ]] || { echo "install.sh: --prefix must begin with /" >&2; exit 2; }
manifest="$root$prefix/share/lynx/install_manifest"

# Units of another root are not this machine's.
running_systemd() { [[ -z $root && -d /run/systemd/system ]]; }

if [[ -n $uninstall ]]; then
  [[ -e $manifest ]] || { echo "install.sh: nothing is installed under $root$prefix" >&2; exit 1; }
  if running_systemd; then
    systemctl stop lynx-gateway.service 'lynx-prefill@*.service' 'lynx-decode@*.service' || true
  fi
  while read -r file; do
    [[ $file == /etc/* ]] || rm -f "$root$file"
  done < "$manifest"
  rm -rf "$root$prefix/share/lynx" "$root$prefix/share/doc/lynx"
  rm -f "$root"/etc/systemd/system/*.wants/lynx-{gateway,prefill@*,decode@*}.service
  running_systemd && systemctl daemon-reload
  exit 0
fi

DESTDIR="$root" cmake --install "$build" --prefix "$prefix" --strip
cp "$build/install_manifest.txt" "$manifest"
systemd-sysusers ${root:+--root="$root"} "$root$prefix/lib/sysusers.d/lynx.conf"
systemd-tmpfiles ${root:+--root="$root"} --create "$root$prefix/lib/tmpfiles.d/lynx.conf"
"$here/make-api-keys" "$root/etc/lynx/api-keys"
if running_systemd; then
  systemctl daemon-reload
  systemctl try-restart lynx-gateway.service 'lynx-prefill@*.service' 'lynx-decode@*.service'
fi
