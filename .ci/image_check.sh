#!/usr/bin/env bash
# Build the image and run a recipe in it without network, with a read-only root file system, as
# another user, with the data mounted read-only. Then reproduce the run in a second container; it must
# be bit-identical. The image must hold what build/sbom.cdx.json lists (`make sbom`), and nothing else.
# Uses docker or podman if one of them works, otherwise .ci/build_image.sh ($ENGINE
# selects docker, podman or script). Exit code 77: this machine cannot build images.
set -euo pipefail
cd "$(dirname "$0")/.."
IMAGE=${IMAGE:-localhost/tltool:check}
BASE_IMAGE=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)}
LIMIT=2200000000
PER_CLASS=20
USER_ID=12345:23456

works() {
  command -v "$1" >/dev/null &&
    timeout 300 "$1" run --rm --network none --read-only "$BASE_IMAGE" true >/dev/null 2>&1
}

choose_engine() {
  local engine
  for engine in docker podman; do
    if works "$engine"; then echo "$engine" && return; fi
  done
  echo script
}

build() {
  local arguments=(--build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)")
  case $ENGINE in
    docker) docker build -t "$IMAGE" "${arguments[@]}" . ;;
    podman) podman build --format docker -t "$IMAGE" "${arguments[@]}" . ;;
    script) .ci/build_image.sh build "$IMAGE" . "${arguments[@]}" ;;
  esac
}

# run [ENGINE-ARGS...] -- ARGS...
run() {
  local arguments=()
  while [ "$1" != -- ]; do arguments+=("$1") && shift; done
  shift
  local command=("$ENGINE" run)
  [ "$ENGINE" != script ] || command=(.ci/build_image.sh run)
  [ "$ENGINE" != podman ] || command+=(--security-opt label=disable)
  "${command[@]}" --rm --network none --read-only --tmpfs /tmp --user "$USER_ID" \
    --cap-drop ALL --security-opt no-new-privileges \
    "${arguments[@]}" "$IMAGE" "$@"
}

size() {
  case $ENGINE in
    script) .ci/build_image.sh size "$IMAGE" ;;
    *) "$ENGINE" image inspect --format '{{.Size}}' "$IMAGE" ;;
  esac
}

say() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

clean_up() {
  # the files belong to the containers' user
  run -v "$BOX:/work" --entrypoint sh -- -c 'rm -rf /work/*/*' >/dev/null 2>&1 || true
  rm -rf "$BOX"
}

ENGINE=${ENGINE:-$(choose_engine)}
say "build with $ENGINE"
build
BYTES=$(size)
say "image of $((BYTES / 1000000)) MB"
[ "$BYTES" -lt "$LIMIT" ] || { echo "larger than $((LIMIT / 1000000)) MB" >&2 && exit 1; }

BOX=$(mktemp -d "${TMPDIR:-/tmp}/tltool-image-check.XXXXXX")
trap clean_up EXIT
mkdir -m 0777 "$BOX/photos" "$BOX/first" "$BOX/second"
chmod 0755 "$BOX"

say "data: $PER_CLASS images of each digit"
run -v "$BOX/photos:/work" -- samples digits --out /work/digits
run -v "$BOX/photos:/work" --entrypoint sh -- -c \
  "for folder in digits/*/; do ls -d \"\$folder\"* | tail -n +$((PER_CLASS + 1)) | xargs rm; done"

say "the health check passes with a command other than serve"
run --entrypoint python -- /opt/healthcheck.py

say "the packages of the image are those of the SBOM, and each names its licence"
[ -s build/THIRD_PARTY_NOTICES.txt ] || { echo "no third-party notices: run make sbom" >&2 && exit 1; }
run --entrypoint python -- -c 'from importlib.metadata import distributions as d
for one in d(): print(f"{one.name}=={one.version}")' >"$BOX/installed"
python3 .ci/supply_chain.py check build/sbom.cdx.json "$BOX/installed"

say "the image contains the weights"
run -- weights pull vgg16

say "recipe docker_smoke: no network, read-only root, user $USER_ID, data read-only"
run -v "$BOX/photos/digits:/data:ro" -v "$BOX/first:/work" -- \
  recipes run docker_smoke /data --out /work/run --offline

say "reproduce the run in a second container"
run -v "$BOX/photos/digits:/data:ro" -v "$BOX/first/run:/first:ro" -v "$BOX/second:/work" -- \
  runs reproduce /first --data /data --offline | tee "$BOX/verdict"
grep -qw '^bit-identical' "$BOX/verdict" || { echo "not bit-identical" >&2 && exit 1; }
say "passed"
