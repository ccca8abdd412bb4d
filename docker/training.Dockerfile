# `jrsr-train`: data and runs are mounted, nothing of them is in the image.
#
#   docker build -f docker/training.Dockerfile -t jrsr-train .
#   docker run --rm --gpus all -v "$PWD:/work" jrsr-train fit training/recipes/jrsr-dc_compact.yaml
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE}
# CUDA comes with PyTorch; .../whl/cpu gives a small image without.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu126
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY gadget gadget
COPY jrsr_core jrsr_core
COPY training training
COPY xml_chains xml_chains
RUN version=$(sed -n 's/^torch==//p' constraints.txt) \
    && pip install --no-cache-dir --index-url "${TORCH_INDEX}" "torch==${version}" \
    && pip install --no-cache-dir -c constraints.txt ".[training]" \
    && useradd --create-home --uid 10001 jrsr
USER jrsr
WORKDIR /work
HEALTHCHECK NONE
ENTRYPOINT ["jrsr-train"]
