# The resident MRD server: Gadgetron's <connect>, FIRE, OpenRecon, `jrsr send`.
#
#   docker build -f docker/server.Dockerfile -t jrsr-server .
#   docker run --rm -p 127.0.0.1:9002:9002 jrsr-server
#
# GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126, then docker run --gpus all.
# OpenRecon: --build-arg OPENRECON_LABEL="$(python docker/openrecon.py)", see README.md.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/jrsr
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY gadget gadget
COPY jrsr_core jrsr_core
COPY training training
COPY xml_chains xml_chains
# PyTorch first and from an index of its own: the one of PyPI brings 3 GB of CUDA along.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN version=$(sed -n 's/^torch==//p' constraints.txt) \
    && /opt/jrsr/bin/pip install --no-cache-dir --index-url "${TORCH_INDEX}" "torch==${version}"
RUN /opt/jrsr/bin/pip install --no-cache-dir -c constraints.txt .

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 jrsr
COPY --from=build /opt/jrsr /opt/jrsr
ENV PATH=/opt/jrsr/bin:$PATH PYTHONUNBUFFERED=1
# OpenRecon takes the label from here; empty for everybody else.
ARG OPENRECON_LABEL=""
LABEL "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"="${OPENRECON_LABEL}"
# Builders of OpenRecon packages that demand root: --build-arg RUN_AS=root
ARG RUN_AS=jrsr
USER ${RUN_AS}
WORKDIR /home/jrsr
EXPOSE 9002
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["jrsr", "health", "--host", "127.0.0.1", "--port", "9002"]
ENTRYPOINT ["tini", "--"]
CMD ["jrsr", "serve", "--host", "0.0.0.0", "--port", "9002"]
