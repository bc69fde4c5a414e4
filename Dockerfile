# tltool in a container; docs/docker.md says how to run it.
#   docker build -t tltool .                              for CPUs, with VGG16's weights inside
#   docker build -t tltool:gpu --build-arg EXTRA=gpu .    for NVIDIA GPUs
#   docker build --build-arg WEIGHTS="vgg16 resnet50" .   other weights; WEIGHTS="" for none
ARG BASE_IMAGE=python:3.11-slim-bookworm

# The environment is a stage that the others start from, so that no build ever copies its gigabytes:
# it is made again when a lock changes, and an edit of tltool takes seconds.
FROM ${BASE_IMAGE} AS environment
ARG EXTRA=cpu
COPY requirements/build.txt requirements/${EXTRA}.txt /opt/requirements/
# Libraries' C++ headers and tests are 330 MB that nothing reads. tltool itself will lie in a folder
# of its own, which the .pth file names.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --require-hashes -r /opt/requirements/build.txt \
    && /opt/venv/bin/python -m pip install --require-hashes --no-build-isolation -r "/opt/requirements/${EXTRA}.txt" \
    && site=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && rm -rf "$site/tensorflow/include" \
    && find "$site" -type d -name tests -prune -exec rm -rf {} + \
    && echo /opt/tltool > "$site/tltool.pth"

FROM environment AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY recipes recipes
COPY tltool tltool
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-index --no-deps --no-build-isolation --target /opt/tltool .
# The cache mount keeps fetched weights between builds: only WEIGHTS, never an edit, fetches again.
ARG WEIGHTS="vgg16"
RUN --mount=type=cache,target=/var/cache/weights \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    export TLTOOL_WEIGHTS_DIR=/var/cache/weights PYTHONDONTWRITEBYTECODE=1 \
    && mkdir /image && mkdir -m 0777 /image/work /image/weights \
    && for name in ${WEIGHTS}; do \
         /opt/tltool/bin/tltool weights pull "$name" \
         && cp -p "/var/cache/weights/$name.json" "/var/cache/weights/$name"-* /image/weights/ \
         || exit 1; \
       done

FROM environment
# /weights and /work, writable for any user id; then what changes most
COPY --from=build /image /
COPY docker/healthcheck.py /opt/healthcheck.py
COPY --from=build /opt/tltool /opt/tltool

ARG EXTRA=cpu
ARG VERSION=0.1.0.dev0
ARG REVISION=""
# A user without a name has no home folder: what libraries cache goes to /tmp. Everything of the image
# is compiled; bytecode of generated code would litter the working folder.
ENV PATH=/opt/tltool/bin:/opt/venv/bin:$PATH \
    TLTOOL_WEIGHTS_DIR=/weights \
    TLTOOL_IMAGE=tltool:${VERSION}-${EXTRA} \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
LABEL org.opencontainers.image.title="tltool" \
      org.opencontainers.image.description="Transfer learning for Keras: a folder of photos in, a trusted classifier and a served SavedModel out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /work
EXPOSE 8501
# docker stop is Ctrl-C: an interrupted run can be resumed, SIGTERM would not reach a process 1.
STOPSIGNAL SIGINT
# Asks the server where `tltool serve` runs; every other command counts as healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "/opt/healthcheck.py"]
USER 10001:10001
ENTRYPOINT ["tltool"]
CMD ["--help"]
