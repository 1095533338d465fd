# The image of a service: `make image` builds it, and docs/image.md says how it is cut.
# Its build arguments:
#   SERVICE         the service's folder in the build context, such as examples/moderation
#   TARGET          cpu or gpu, for the onnxruntime that the image holds
#   BASE            Debian with Python 3.11 or newer and pip
#   PIP_INDEX_URL   the package index, where it is not pip's own
#   BUILD_PACKAGES  Debian packages that compile Python packages without a wheel, such as g++ and python3-dev
#
# An index with a password goes into a pip.conf, which is the build's secret `pip`. Build stages alone see the index and
# the secret. Neither the final image nor its history holds them.
#
# A pattern such as sr[c] may match nothing, as long as the same COPY has another source.
ARG BASE=python:3.11-slim-bookworm

# --- The service's folder and the platform's source, taken apart: each part becomes a layer of its own.
FROM ${BASE} AS parts
ARG SERVICE=.
WORKDIR /parts
COPY image/extras.py image/weights.py pyproject.toml requirements.lock src/monopod.py build/
COPY src/serving/settings/model_files.py build/serving/settings/
COPY src/serving platform/src/serving
RUN mv build/monopod.py platform/src && chmod -R u=rwX,go=rX platform \
    && python -m compileall -q --invalidation-mode unchecked-hash platform
COPY ${SERVICE}/value.py ${SERVICE}/mode[l]/Makefil[e] own/
RUN python build/extras.py own/value.py >build/needed.txt
COPY pyproject.toml ${SERVICE}/sr[c] own/src/
RUN rm -rf own/src/serving own/src/monopod.py own/src/pyproject.toml && mkdir debian python making \
    && if [ -e own/src/packages.txt ]; then mv own/src/packages.txt debian; fi \
    && if [ -e own/src/requirements.txt ]; then mv own/src/requirements.txt python; fi \
    && chmod -R u=rwX,go=rX . && python -m compileall -q --invalidation-mode unchecked-hash own/src \
    && if [ -e own/Makefile ]; then rm own/Makefile && cp -r platform/. own/. making; fi \
    && rm -r platform/src/serving/tools/bench platform/src/serving/tools/new.py platform/src/serving/tools/optimize

# --- The base of every pod: a user, the Debian packages of src/packages.txt, and the command to run.
FROM ${BASE} AS pod
LABEL org.opencontainers.image.title="monopod service" \
      org.opencontainers.image.description="One model over HTTP: requests on port 8080, probes and metrics on 8081"
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app/src PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8081/livez', timeout=4)"]
CMD ["python", "-m", "monopod", "serve"]
WORKDIR /app
COPY --from=parts /parts/debian src/
# hadolint ignore=DL3008,SC2046
RUN echo 'monopod:x:65532:65532::/tmp:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'monopod:x:65532:' >>/etc/group \
    && if [ -e src/packages.txt ]; then \
        apt-get update && apt-get install --yes --no-install-recommends -- $(sed 's/#.*//' src/packages.txt) \
        && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*; \
    fi

# --- The model's files, with parts merged, sums checked, and the files that model/Makefile makes.
FROM pod AS model
ARG SERVICE=.
ARG PIP_INDEX_URL=""
ENV PIP_CONFIG_FILE=/run/secrets/pip PIP_CACHE_DIR=/root/.cache/pip
COPY --from=parts /parts/build /parts/python /build/
COPY pyproject.toml ${SERVICE}/mode[l] model/
RUN rm model/pyproject.toml && python /build/weights.py model && chmod -R u=rwX,go=rX model
# hadolint ignore=DL3008,DL3042
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip \
    if [ -e model/Makefile ]; then \
        apt-get update && apt-get install --yes --no-install-recommends make && python -m venv /venv \
        && python /build/extras.py /build/pyproject.toml runtime cpu tools >>/build/requirements.txt \
        && pip install --quiet --no-compile --constraint /build/requirements.lock --requirement /build/requirements.txt; \
    fi
COPY --from=parts /parts/making ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip \
    if [ -e model/Makefile ]; then \
        make --directory model PYTHON=/venv/bin/python && python /build/weights.py --made model && chmod -R u=rwX,go=rX model; \
    fi

# --- Python packages as wheels.
FROM ${BASE} AS wheels
ARG BUILD_PACKAGES=""
ARG PIP_INDEX_URL=""
ENV PIP_CONFIG_FILE=/run/secrets/pip PIP_CACHE_DIR=/root/.cache/pip PIP_CONSTRAINT=/build/requirements.lock
WORKDIR /wheels
# hadolint ignore=DL3008,DL3009
RUN if [ -n "$BUILD_PACKAGES" ]; then apt-get update && apt-get install --yes --no-install-recommends $BUILD_PACKAGES; fi
COPY --from=parts /parts/build /build
ARG TARGET=cpu
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip \
    xargs python /build/extras.py /build/pyproject.toml runtime "$TARGET" </build/needed.txt >platform.txt \
    && python -m pip wheel --quiet --wheel-dir platform --requirement platform.txt && ls platform >platform.list
COPY --from=parts /parts/python ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip \
    touch requirements.txt && mkdir own \
    && python -m pip wheel --progress-bar off --wheel-dir own --find-links platform --requirement requirements.txt \
    && ls own >own.list

# --- The image itself. Each list of wheels is a file, so that its layer and the next one change when a wheel does.
# The layer that changes most often comes last.
FROM pod AS service
COPY --from=wheels /wheels/platform.list /venv/
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python -m venv --without-pip /venv \
    && SOURCE_DATE_EPOCH=0 pip --python /venv/bin/python install --quiet --no-cache-dir --no-index \
        --find-links /wheels/platform --requirement /wheels/platform.txt
COPY --from=wheels /wheels/own.list /venv/
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    SOURCE_DATE_EPOCH=0 pip --python /venv/bin/python install --quiet --no-cache-dir --no-index \
        --find-links /wheels/own --requirement /wheels/requirements.txt
USER 65532:65532
COPY --from=model /app/model model/
COPY --from=parts /parts/platform ./
COPY --from=parts /parts/own ./
