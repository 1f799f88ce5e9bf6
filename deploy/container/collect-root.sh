#!/usr/bin/env bash
# deploy/container/collect-root.sh BIN_DIR ROOT [LIBRARY...]: lays out an image's root without a distribution:
# the programs of a build (stripped), the shared libraries that they need, and LIBRARYs that they load themselves.
set -euo pipefail
bin=$1
root=$2
shift 2
programs=(lynx lynx-gateway lynx-decode lynx-prefill)
libraries=usr/lib/x86_64-linux-gnu

mkdir -p "$root"/{usr/bin,usr/lib64,"$libraries",etc/lynx,models,proc,dev,sys,tmp}
chmod 1777 "$root/tmp"
ln -sfn usr/bin "$root/bin"
ln -sfn usr/lib "$root/lib"
ln -sfn usr/lib64 "$root/lib64"

for program in "${programs[@]}"; do
  strip -o "$root/usr/bin/$program" "$bin/$program"
done

# needs FILE...: the libraries that the loader finds for them.
needs() {
  local out
  out="$(ldd "$@")"
  if grep 'not found' <<< "$out" >&2; then return 1; fi
  sed -nE 's/.* => (\/[^ ]+) .*/\1/p' <<< "$out" | sort -u
}
found="$(needs "${programs[@]/#/$bin/}" "$@")"
for library in $found "$@"; do
  cp -L --preserve=mode "$library" "$root/$libraries/"
done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/usr/lib64/"

# The user that the programs run as, and where names come from: /etc/hosts, then DNS.
echo 'lynx:x:65532:65532:lynx:/tmp:/nologin' > "$root/etc/passwd"
echo 'lynx:x:65532:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
