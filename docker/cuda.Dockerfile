# A machine with an NVIDIA GPU and its container toolkit. torch's wheel brings CUDA along.
#   docker build -f docker/cuda.Dockerfile -t isd-flow:cuda .
#   docker run --rm -it --gpus all -v "$PWD/runs:/work/runs" isd-flow:cuda python -m isd_policy.train --help
FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libegl1 libgl1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/isd-flow
COPY . .
ENV MUJOCO_GL=egl NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics PATH=/opt/isd-flow/.venv/bin:$PATH
RUN python -m scripts.setup.environment demo
WORKDIR /work
