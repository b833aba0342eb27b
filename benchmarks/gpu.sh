#!/usr/bin/env bash
# The CUDA tests and the step benchmark on a machine with an NVIDIA GPU: bf16, channels-last, compiled, data on the GPU.
# Needs torch 2.11 or newer, pytest and the core dependencies of pyproject.toml in PYTHON; about 8 minutes at most.
#   PYTHON=python3.12 OUT=docs/results benchmarks/gpu.sh
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-docs/results}
export PYTHONPATH=src
"$PYTHON" -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else "no CUDA GPU here")'
timeout 200 "$PYTHON" -m pytest -q -c /dev/null --rootdir . -p no:cacheprovider tests/cuda
timeout 120 "$PYTHON" benchmarks/step.py --device cuda --rounds 20 --steps 50 --out "$OUT/step-cuda-fp32.md"
timeout 150 "$PYTHON" benchmarks/step.py --device cuda --precision bf16-mixed --compile --rounds 20 --steps 50 \
	--out "$OUT/step-cuda-bf16-compiled.md"
