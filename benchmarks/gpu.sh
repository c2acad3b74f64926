#!/bin/sh
# Measures everything that needs an NVIDIA GPU, in at most ten minutes, and keeps the raw numbers:
#
#     sh benchmarks/gpu.sh [folder]      # benchmarks/raw if left out
#
# PYTHON names the interpreter (python3). What it lacks is installed from WHEELS, a folder of wheels, or from the
# package index where that can be reached, into an environment on top of it; what it has is used as it is. No step is
# silent for more than ten seconds. It ends with 1 if a check failed, not if something could not be measured.
set -u
cd "$(dirname "$0")/.." || exit 2
raw=${1:-benchmarks/raw}
python=${PYTHON:-python3}
environment=${ENVIRONMENT:-/tmp/dyn-gpu-environment}
began=$(date +%s)
failed=0
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD:$PWD/benchmarks:$PWD/tests" OMP_NUM_THREADS=1
export NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-/tmp/dyn-gpu-cache} XLA_PYTHON_CLIENT_PREALLOCATE=false
mkdir -p "$raw"

left() { echo $((600 - $(date +%s) + began)); }
say() { echo "[$(($(date +%s) - began)) s] $*"; }

# run name seconds command...: with a sign of life every eight seconds, and no longer than there is time
run() {
    name=$1 limit=$2
    shift 2
    [ "$(left)" -lt "$limit" ] && limit=$(left)
    if [ "$limit" -lt 10 ]; then
        say "$name: no time left"
        return 0
    fi
    say "$name, at most $limit s"
    timeout "$limit" "$@" &
    work=$!
    (while sleep 8; do say "$name goes on"; done) &
    sign=$!
    wait "$work"
    code=$?
    kill "$sign" 2>/dev/null
    wait "$sign" 2>/dev/null
    say "$name ended with $code"
    return "$code"
}

has() { "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)" 2>/dev/null; }

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L; then
    echo "no NVIDIA GPU: nothing to measure here"
    exit 0
fi
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,memory.total --format=csv | tee "$raw/gpu.csv"
"$python" -V

# numba-cuda's libraries are those of JAX's CUDA, or of the driver
cuda=12
has jax_cuda13_plugin && cuda=13
missing=
for pair in numpy:numpy scipy:scipy numba:numba numba_cuda:numba-cuda[cu$cuda] jax:jax diffrax:diffrax optax:optax \
    pytest:pytest hypothesis:hypothesis threadpoolctl:threadpoolctl safetensors:safetensors; do
    has "${pair%%:*}" || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
    say "missing:$missing"
    install() { # in an environment: what comes with numba-cuda is not found in any other folder
        run "an environment" 60 "$python" -m venv --system-site-packages "$environment" || return
        # of which an environment on top of an environment would see nothing
        PYTHONPATH=$PYTHONPATH:$("$python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
        python=$environment/bin/python
        run "packages" 150 "$python" -m pip install -q --no-compile "$@"
    }
    if [ -n "${WHEELS:-}" ] && ls "$WHEELS"/*.whl >/dev/null 2>&1; then
        install --no-index --no-deps "$WHEELS"/*.whl
    elif "$python" -c "import urllib.request as u; u.urlopen('https://pypi.org/simple/pip/', timeout=5)" 2>/dev/null; then
        # shellcheck disable=SC2086 # one word each
        install $missing
    else
        say "neither wheels (WHEELS=folder) nor a package index: what needs them will say so"
    fi
fi

say "what Numba finds"
"$python" - <<'PY' || failed=1
from dynamics.integration.cuda_ensemble import available
from dynamics.integration.numba_cuda import INSTALLED, cuda

print("numba-cuda is installed:", INSTALLED, "| a GPU is found:", available())
cuda.detect()
PY

# all cores compile for the cache on disk; what is measured loads from it
"$python" -c "
from dynamics.variants import VARIANTS
for name, row in VARIANTS.items():
    for dtype in ('float64', 'float32') if row.kind is not None else ():
        print(name, dtype)
" > "$raw/kernels.txt"
run "compiling" 150 xargs -a "$raw/kernels.txt" -P "$(nproc)" -n 2 "$python" benchmarks/bench_ensemble_gpu.py --compile
rm -f "$raw/kernels.txt"
run "ensembles" 220 "$python" benchmarks/bench_ensemble_gpu.py --json "$raw/ensemble.json" || failed=1
run "training" 120 "$python" benchmarks/bench_training.py --device gpu || failed=1
# the configuration of the suite asks for plugins and files that a bare machine lacks
run "tests with cuda in their name" 100 "$python" -m pytest -q -c /dev/null --rootdir . -p no:cacheprovider \
    --noconftest tests/test_cuda_ensemble.py || failed=1
run "what the kernel that tries steps compiles to" 30 "$python" benchmarks/cuda_code.py --kernel advance || failed=1
"$python" - "$raw" <<'PY'
import json, re, sys
from pathlib import Path

folder = Path(sys.argv[1])
if (source := folder / "ensemble.json").exists():
    device = json.loads(source.read_text())["device"]
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    source.rename(folder / f"ensemble-{name}.json")
    print("kept", folder / f"ensemble-{name}.json")
page = Path("benchmarks/README.md").read_text(encoding="utf-8")
if "<!-- begin: training-gpu -->" in page:
    table = page.split("<!-- begin: training-gpu -->")[1].split("<!-- end: training-gpu -->")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    rows = [dict(zip(lines[0], cells)) for cells in lines[2:]]
    (folder / "training.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    print("kept", folder / "training.json")
PY
say "done"
exit "$failed"
