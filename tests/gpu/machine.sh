# shellcheck shell=bash disable=SC2034
# What tests/gpu.sh needs of a machine. Sets `generator`, `components`.

# Package, and a header of it: what is built needs no more than these.
needed=(
  libabsl-dev:absl/status/status.h
  libspdlog-dev:spdlog/spdlog.h
  libfmt-dev:fmt/format.h
  nlohmann-json3-dev:nlohmann/json.hpp
  catch2:catch2/catch.hpp
)
packages_root=""

# unpack_packages DIR TARGET: unpacks the .deb files of DIR and makes the build use them.
unpack_packages() {
  local deb
  for deb in "$1"/*.deb; do
    [[ -e "$deb" ]] || { echo "tests/gpu.sh: no .deb files in $1" >&2; exit 2; }
    dpkg-deb -x "$deb" "$2" || exit 2
  done
  packages_root="$(realpath "$2")/usr"
  export CMAKE_PREFIX_PATH="$packages_root${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
  local libraries
  libraries="$packages_root/lib/$(uname -m)-linux-gnu"
  export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export PKG_CONFIG_PATH="$libraries/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
}

has_header() {
  local folder
  for folder in ${packages_root:+"$packages_root/include"} /usr/include /usr/local/include; do
    [[ -e "$folder/$1" ]] && return 0
  done
  return 1
}

# The NCCL channel is tested where NCCL and what else it is built with are there. Sets `components`.
choose_components() {
  local missing=() folder found=""
  components=kernels
  has_header openssl/rand.h || missing+=(libssl-dev)
  has_header xxhash.h || missing+=(libxxhash-dev)
  command -v pkg-config > /dev/null || missing+=(pkg-config)
  has_header nccl.h || [[ -e "${NCCL_ROOT:-/usr/local/cuda}/include/nccl.h" ]] || missing+=(nccl.h)
  IFS=: read -ra folders <<< "${LD_LIBRARY_PATH:-}"
  for folder in "${folders[@]}"; do [[ -e "$folder/libnccl.so.2" ]] && found=yes; done
  [[ -n "$found" ]] || ldconfig -p | grep -q 'libnccl\.so\.2' || missing+=(libnccl.so.2)
  if [[ ${#missing[@]} -eq 0 ]]; then
    components="kernels;transfer"
  else
    echo "tests/gpu.sh: without ${missing[*]}: the NCCL channel is left out"
  fi
}

require_machine() {
  local missing=() entry
  export PATH="$PATH:/usr/local/cuda/bin"
  command -v nvcc > /dev/null || missing+=("nvcc of CUDA 13 (in the PATH or in /usr/local/cuda/bin)")
  command -v c++ > /dev/null || missing+=("a C++20 compiler (package g++)")
  command -v cmake > /dev/null || missing+=("cmake 3.25 or newer")
  if command -v ninja > /dev/null; then
    generator=Ninja
  elif command -v make > /dev/null; then
    generator="Unix Makefiles"
  else
    missing+=("ninja or make")
  fi
  for entry in "${needed[@]}"; do
    has_header "${entry#*:}" || missing+=("package ${entry%%:*} (${entry#*:})")
  done
  if [[ "$(nvidia-smi -L 2> /dev/null)" != GPU* ]]; then
    missing+=("a GPU with a driver: nvidia-smi -L lists none")
  fi
  [[ ${#missing[@]} -eq 0 ]] && return
  printf 'tests/gpu.sh: missing: %s\n' "${missing[@]}" >&2
  echo "0 passed, 0 failed"
  exit 2
}

# "90" for a GPU of compute capability 9.0: nothing else is compiled for.
gpu_architecture() {
  nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '.'
}
