# Gadgetron with the plugin in its own Python environment, and our chains among its own.
#
#   docker build -f docker/gadgetron.Dockerfile -t jrsr-gadgetron .
#   docker run --rm -p 127.0.0.1:9002:9002 jrsr-gadgetron
#
# GPU: --build-arg BASE=ghcr.io/gadgetron/gadgetron/ubuntu22.04_rt_cuda:latest
#      --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126
ARG BASE=ghcr.io/gadgetron/gadgetron/ubuntu22.04_rt_nocuda:latest
FROM ${BASE}
USER root
# The environment of Gadgetron: its Python is the one that <execute> starts.
ARG ENVIRONMENT=/opt/conda/envs/gadgetron
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY gadget gadget
COPY jrsr_core jrsr_core
COPY training training
COPY xml_chains xml_chains
# No constraints but that of PyTorch: numpy and ismrmrd stay those that Gadgetron came with.
RUN version=$(sed -n 's/^torch==//p' constraints.txt) \
    && "${ENVIRONMENT}/bin/pip" install --no-cache-dir --index-url "${TORCH_INDEX}" \
        "torch==${version}" \
    && "${ENVIRONMENT}/bin/pip" install --no-cache-dir . \
    && "${ENVIRONMENT}/bin/python" -c "import gadget.handler"
COPY xml_chains/*.xml ${ENVIRONMENT}/share/gadgetron/config/
RUN useradd --create-home --uid 10001 jrsr
USER jrsr
WORKDIR /home/jrsr
EXPOSE 9002
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9002), 5)"]
