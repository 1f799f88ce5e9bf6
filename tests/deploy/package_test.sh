#!/usr/bin/env bash
# The Debian package of a build: made, and looked into. (Installing and purging it was tried by hand.)
# usage: package_test.sh BUILD_FOLDER
set -euo pipefail
build=$1
command -v dpkg-shlibdeps > /dev/null || { echo "dpkg-dev is missing: deploy/install-deps.sh --tests"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

(cd "$build" && cpack -G DEB -B "$work" -D CPACK_DEBIAN_COMPRESSION_TYPE=gzip) > "$work/log" 2>&1 || fail "cpack: $(cat "$work/log")"
package=$(echo "$work"/lynx_*.deb)
dpkg-deb -x "$package" "$work/root"
dpkg-deb -e "$package" "$work/control"
for program in lynx lynx-gateway lynx-prefill lynx-decode; do
  [[ -x $work/root/usr/bin/$program ]] || fail "no $program"
done
for file in systemd/system/lynx-{gateway,prefill@,decode@}.service {sysusers,tmpfiles}.d/lynx.conf; do
  cmp "$(dirname "$0")/../../deploy/systemd/$(basename "${file/.d\/lynx/}")" "$work/root/usr/lib/$file" || fail "another $file"
done
[[ $(ls "$work/root") == $'etc\nusr' ]] || fail "files elsewhere: $(ls "$work/root")"
[[ $(cat "$work/control/conffiles") == /etc/lynx/lynx.json && -e $work/root/etc/lynx/lynx.json ]] || fail "conffiles"
grep -q '^Depends: .*libgrpc++1' "$work/control/control" || fail "dependencies: $(cat "$work/control/control")"
for script in postinst prerm postrm; do
  [[ -x $work/control/$script ]] && sh -n "$work/control/$script" || fail "$script"
done
"$work/root/usr/bin/lynx" check-config "$work/root/etc/lynx/lynx.json" || fail "the shipped configuration"

# A random key, once, for root alone.
keys=$work/root/usr/share/lynx/systemd/make-api-keys
"$keys" "$work/keys"
first=$(cat "$work/keys")
"$keys" "$work/keys"
[[ $(cat "$work/keys") == "$first" && $(stat -c %a "$work/keys") == 600 ]] || fail "make-api-keys"
grep -qxE 'sk-[0-9a-f]{48}' "$work/keys" || fail "no key: $first"
echo "ok"
