# A machine without a GPU: training of small policies, rollouts, the control loop, the policy server.
#   docker build -f docker/cpu.Dockerfile -t isd-flow:cpu .
#   docker run --rm -it -v "$PWD/runs:/work/runs" isd-flow:cpu python -m isd_envs.demos task=lift out=runs/lift.hdf5
FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libosmesa6 libgl1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/isd-flow
COPY . .
ENV TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu MUJOCO_GL=osmesa PATH=/opt/isd-flow/.venv/bin:$PATH
RUN python -m scripts.setup.environment demo
WORKDIR /work
