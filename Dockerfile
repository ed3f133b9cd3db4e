# The platform: API, dashboard, forecaster and jobs in one image, for Ray's head and workers alike.
#   buildah bud -t quantis:0.1.0 .
# An offline build takes its bases from --build-arg NODE_IMAGE=... and BASE_IMAGE=...
ARG NODE_IMAGE=node:20-bookworm-slim
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${NODE_IMAGE} AS web
WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM ${BASE_IMAGE} AS dependencies
# Empty: the configured index. Give the address of an index of CPU or CUDA builds to choose one.
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/quantis
ENV PATH=/opt/quantis/bin:$PATH
# The version is pinned; the linter cannot see past the choice of index.
# hadolint ignore=DL3013
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0
COPY requirements/lock.txt /tmp/lock.txt
RUN pip install --require-hashes --no-deps -r /tmp/lock.txt

FROM ${BASE_IMAGE}
ARG RAY_VERSION=2.60.0
LABEL org.opencontainers.image.title="Quantis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      io.ray.version="${RAY_VERSION}"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# libgomp for LightGBM; the user's number is the one the manifests run as.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 quantis \
 && useradd --uid 10001 --gid 10001 --create-home quantis
COPY --from=dependencies /opt/quantis /opt/quantis
ENV PATH=/opt/quantis/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0
RUN python -c "import ray; assert ray.__version__ == '${RAY_VERSION}', ray.__version__"
WORKDIR /app
COPY quantis/ quantis/
COPY features/ features/
COPY models/ models/
COPY monitoring/ monitoring/
COPY cluster/ cluster/
COPY jobs/ jobs/
COPY serve/ serve/
COPY pyproject.toml README.md ./
COPY --from=web /web/dist web/dist
USER 10001:10001
EXPOSE 8000
CMD ["python", "-m", "quantis", "--help"]
