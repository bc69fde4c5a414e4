# tltool on CPUs.
#   docker build -t tltool .
#   docker run --rm -v "$PWD:/data" --user "$(id -u)" tltool finetune photos
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /source
COPY requirements/build.txt requirements/cpu.txt requirements/
RUN python3 -m venv /opt/tltool \
    && /opt/tltool/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && /opt/tltool/bin/python -m pip install --no-cache-dir --require-hashes --no-build-isolation -r requirements/cpu.txt
COPY pyproject.toml README.md LICENSE ./
COPY recipes recipes
COPY tltool tltool
RUN /opt/tltool/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${BASE_IMAGE}
COPY --from=build /opt/tltool /opt/tltool
# writable for any user id; mount a volume at /weights to keep what is fetched
RUN mkdir /data /weights && chmod 0777 /data /weights
# a user without a name has no home folder: what libraries cache goes where anyone may write
ENV PATH=/opt/tltool/bin:$PATH \
    TLTOOL_WEIGHTS_DIR=/weights \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
USER 10001
ENTRYPOINT ["tltool"]
CMD ["--help"]
