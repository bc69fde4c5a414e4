# tltool in a container; see docs/docker.md.
#   docker build -t tltool .                              for CPUs, with the weights of VGG16
#   docker build -t tltool:gpu --build-arg EXTRA=gpu .    for NVIDIA GPUs
#   docker build --build-arg WEIGHTS="vgg16 resnet50" .   other weights; WEIGHTS="" for none
#   docker build --build-arg BASE_IMAGE=python:3.11-slim-bookworm@sha256:... .
#                                                         the base image by digest
ARG BASE_IMAGE=python:3.11-slim-bookworm

# The other stages start from this one, so that its gigabytes are never copied. It is rebuilt only if
# a lock file changes; after a change of tltool, a build takes seconds.
FROM ${BASE_IMAGE} AS environment
ARG EXTRA=cpu
COPY requirements/build.txt requirements/${EXTRA}.txt /opt/requirements/
# C++ headers and tests of libraries (330 MB) are not needed and deleted. The .pth file adds the folder
# of tltool to the path.
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
# The cache mount keeps downloaded weights between builds.
ARG WEIGHTS="vgg16"
RUN --mount=type=cache,target=/var/cache/weights \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    export TLTOOL_WEIGHTS_DIR=/var/cache/weights PYTHONDONTWRITEBYTECODE=1 \
    && mkdir /image && mkdir -m 0777 /image/work /image/weights /image/cuda-cache \
    && for name in ${WEIGHTS}; do \
         /opt/tltool/bin/tltool weights pull "$name" \
         && cp -p "/var/cache/weights/$name.json" "/var/cache/weights/$name"-* /image/weights/ \
         || exit 1; \
       done

FROM environment
# /weights, /work and /cuda-cache, writable for any user id; then the files that change most often
COPY --from=build /image /
COPY docker/healthcheck.py /opt/healthcheck.py
COPY --from=build /opt/tltool /opt/tltool

ARG EXTRA=cpu
ARG VERSION=0.1.0
ARG REVISION=""
# A user without a name has no home folder: what libraries cache goes to /tmp. Everything of the image
# is compiled; bytecode of generated code would litter the working folder. GPU code that the driver
# compiles, which takes minutes on a new kind of GPU, is kept where a volume can hold it.
ENV PATH=/opt/tltool/bin:/opt/venv/bin:$PATH \
    TLTOOL_WEIGHTS_DIR=/weights \
    TLTOOL_IMAGE=tltool:${VERSION}-${EXTRA} \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    CUDA_CACHE_PATH=/cuda-cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
LABEL org.opencontainers.image.title="tltool" \
      org.opencontainers.image.description="Transfer learning for image classification with Keras: from a folder of images to a verified SavedModel" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /work
EXPOSE 8501
# docker stop sends the signal of Ctrl-C, after which a run can be resumed; process 1 ignores SIGTERM.
STOPSIGNAL SIGINT
# Requests the server of `tltool serve`; with every other command the container is healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "/opt/healthcheck.py"]
USER 10001:10001
ENTRYPOINT ["tltool"]
CMD ["--help"]
