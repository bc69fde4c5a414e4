#!/usr/bin/env bash
# Build the Dockerfile and run the image on a machine without a container engine or registry, as root
# on Debian 12. debootstrap creates the base image, buildah builds in chroot isolation, and runc runs
# the containers.
#   .ci/build_image.sh build TAG CONTEXT [BUILDAH-ARGS...]
#   .ci/build_image.sh run [PODMAN-ARGS...] TAG [ARGS...]
#   .ci/build_image.sh size TAG          bytes
#   .ci/build_image.sh clean             delete all images
# Images are stored in $TLTOOL_IMAGE_STORE. Exit code 77: this machine cannot build images.
# The addresses of the package index and the Debian mirror are read from the settings of pip and apt on
# this machine. They are passed to the build as a secret, so that no layer contains them.
set -euo pipefail
STORE_HOME=${TLTOOL_IMAGE_STORE:-/var/tmp/tltool-image-check}
BASE=localhost/tltool-base:bookworm-python3.11
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
TOOLS=(buildah podman runc conmon debootstrap)

cannot() {
  echo "build_image: $1" >&2
  exit 77
}

check_machine() {
  [ "$(id -u)" = 0 ] || cannot "needs root"
  local missing=() tool
  for tool in "${TOOLS[@]}"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ ${#missing[@]} = 0 ] && return
  grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || cannot "needs ${missing[*]}, or Debian 12 to install them"
  if ! { apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1; then
    cannot "apt cannot install ${missing[*]}"
  fi
}

# The first Debian mirror in the settings of apt.
debian_mirror() {
  sed -nE 's/^(URIs: *|deb +(\[[^]]*\] +)?)([^ ]+).*/\3/p' \
    /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1 || true
}

make_base() {
  buildah "${STORE[@]}" inspect --type image "$BASE" >/dev/null 2>&1 && return
  local root=$STORE_HOME/rootfs container name
  rm -rf "$root"
  debootstrap --variant=minbase --include=python3.11,python3.11-venv,python3-pip,ca-certificates \
    bookworm "$root" "$(debian_mirror)" >"$STORE_HOME/debootstrap.log" 2>&1 ||
    cannot "debootstrap failed, see $STORE_HOME/debootstrap.log"
  for name in python python3 python3.11; do ln -sf /usr/bin/python3.11 "$root/usr/local/bin/$name"; done
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  # the address of the mirror is this machine's own business
  : >"$root/etc/apt/sources.list"
  container=$(buildah "${STORE[@]}" from scratch)
  tar -C "$root" --one-file-system --numeric-owner -cf "$STORE_HOME/base.tar" .
  buildah "${STORE[@]}" add -q "$container" "$STORE_HOME/base.tar" / >/dev/null
  buildah "${STORE[@]}" config --cmd python3 --env LANG=C.UTF-8 \
    --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  buildah "${STORE[@]}" commit -q --rm "$container" "$BASE" >/dev/null
  rm -rf "$root" "$STORE_HOME/base.tar"
}

# pip's settings on this machine, from every file and variable, as one file. Constraints are left out:
# their files are not in the build, and the lock files name every version.
pip_settings() {
  echo "[global]"
  python3 -m pip config list 2>/dev/null | sed -nE "s/^(global|:env:)\.([a-z-]+)='(.*)'\$/\2\t\3/p" |
    awk -F '\t' '$2 != "" && $1 != "constraint" && !seen[$1]++ { print $1 " = " $2 }'
}

build() {
  local tag=$1 context=$2 settings=$STORE_HOME/pip.conf arguments=() folder
  shift 2
  make_base
  (umask 077 && pip_settings >"$settings")
  [ ! -f "$CERTIFICATES" ] || arguments+=(-v "$CERTIFICATES:$CERTIFICATES:ro")
  # indexes and wheels that lie in folders of this machine; an index names files beside itself
  for folder in $(grep -oE '(^| )(file://)?/[^ ]+' "$settings" | sed -E 's#^ ?(file://)?##; s#/simple/?$##' | sort -u); do
    [ ! -d "$folder" ] || arguments+=(-v "$folder:$folder:ro")
  done
  buildah "${STORE[@]}" build --isolation chroot --network host --pull-never --layers \
    --format docker --build-arg BASE_IMAGE="$BASE" --secret "id=pip,src=$settings" \
    "${arguments[@]}" -t "$tag" "$@" "$context" 2>&1 | sed -uE 's#[a-z+]+://[^ /]+#<host>#g'
}

# runc, because crun 1.8 refuses hybrid cgroups; the limits, because raising them may be forbidden;
# health checks need systemd here.
run() {
  podman "${STORE[@]}" --runtime runc --cgroup-manager cgroupfs run --pull never --no-healthcheck \
    --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 "$@"
}

case ${1:-} in
  build | run | size | clean) command=$1 && shift ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
esac
check_machine
export TMPDIR=$STORE_HOME/tmp # buildah's cache mounts lie there
mkdir -p "$TMPDIR"
driver=vfs
! grep -qw overlay /proc/filesystems || driver=overlay
STORE=(--root "$STORE_HOME/store" --runroot "$STORE_HOME/run" --storage-driver "$driver")
case $command in
  build) build "$@" ;;
  run) run "$@" ;;
  size) buildah "${STORE[@]}" inspect --type image --format '{{.FromImageID}}' "$1" >/dev/null &&
    podman "${STORE[@]}" image inspect --format '{{.Size}}' "$1" ;;
  clean) buildah "${STORE[@]}" rmi --all --force >/dev/null && rm -rf "$STORE_HOME" ;;
esac
