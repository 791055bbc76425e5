#!/usr/bin/env bash
# Try Foliopress on a machine with an NVIDIA GPU; it needs the driver, Python and, on Debian or Ubuntu, nothing else.
#
#   [PORT=8786] scripts/gpu.sh [FOLDER]
#
# Install Foliopress with TensorFlow and CUDA into .venv, compare the GPU's scores with the CPU's (they may differ by at
# most 0.001), measure both, and compress the sample archive on a Dask cluster with a GPU worker. FOLDER, by default
# `gpu-trial`, gets scoring.json and the archive. Takes less than eight minutes; exits with 1 if anything is not as it
# should be.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-gpu-trial}
port=${PORT:-8786}
python=.venv/bin/python
export TF_CPP_MIN_LOG_LEVEL=2 OMP_THREAD_LIMIT=1

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

step "GPU"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

step "Install"
scripts/setup.sh gpu
mkdir -p "$out"

step "Scores and speed"
$python -m benchmarks.scoring --engine litert --engine tf-function-gpu --pages 4 --repeats 3 \
    --most-difference 0.001 --out "$out/scoring.json"

step "Cluster with a GPU worker"
started=()
trap 'kill "${started[@]}" 2>/dev/null || true' EXIT
dask() { $python -P -m dask "$@" >>"$out/cluster.log" 2>&1 & started+=($!); }
dask scheduler --host 127.0.0.1 --port "$port" --no-dashboard
for name in cpu-1 cpu-2; do
    dask worker "tcp://127.0.0.1:$port" --name $name --nthreads 1 --no-dashboard --death-timeout 60
done
dask worker "tcp://127.0.0.1:$port" --name gpu --nthreads 1 --no-dashboard --death-timeout 60 --resources GPU=1
$python -P -c "from distributed import Client; Client('tcp://127.0.0.1:$port').wait_for_workers(3, timeout=60)"
[ -d "$out/source" ] || .venv/bin/foliopress sample "$out/source"
.venv/bin/foliopress compress "$out/source" "$out/compressed" --scheduler "tcp://127.0.0.1:$port" --overwrite
.venv/bin/foliopress verify "$out/compressed"
$python -P - "$out/compressed" <<'END'
import sys

import pyarrow.dataset as ds

table = ds.dataset(f"{sys.argv[1]}/stats/pages", format="parquet", exclude_invalid_files=True)
scorers = set(table.to_table(columns=["scorer"])["scorer"].to_pylist()) - {None}
print("scored by", *sorted(scorers))
sys.exit(scorers != {"tf-gpu"})
END

step "Done"
