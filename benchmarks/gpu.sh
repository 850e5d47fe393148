#!/usr/bin/env bash
# The measurements on a GPU, in parts of under ten minutes each, without network:
#
#   bash benchmarks/gpu.sh 1    what the device can do, a T5 training step's share of it, the workloads with their peers
#   bash benchmarks/gpu.sh 2    META ID on Beauty from walks to results.json, ten epochs of T5-small
#   bash benchmarks/gpu.sh 3    beam search, ten beams, over all users of part 2's model; evaluation
#
# The machine needs jax, flax, optax, orbax, torch and transformers. What else requirements.txt names may lie as wheels
# in the folder $WHEELS. Data is looked up in $JAXREC_DATA (default ../shared/data). JSON goes to $OUT (default
# docs/results/gpu), the run to $RUN (default runs/gpu). QUICK=1 runs tiny sizes of everything, on any device.
set -euo pipefail
cd "$(dirname "$0")/.."

part=${1:-}
OUT=${OUT:-docs/results/gpu}
RUN=${RUN:-runs/gpu}
python=${PYTHON:-python3}
quick=()
config=(configs/meta_id_beauty.py)
if [ -n "${QUICK:-}" ]; then
    quick=(--quick)
    config=(configs/demo.py --train.steps 20 --data.world.users 300 --data.world.items 100)
fi
if [ -n "${WHEELS:-}" ]; then
    site=${TMPDIR:-/tmp}/jaxrec-site
    "$python" -m pip install -q --no-index --no-deps --upgrade --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/jax}
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.6} # torch peers share the device
mkdir -p "$OUT"

timed() { # NAME COMMAND...: writes the seconds that it took to $OUT/NAME.seconds
    local name=$1 started=$SECONDS
    shift
    "$@"
    echo "$((SECONDS - started))" | tee "$OUT/$name.seconds"
}

case $part in
1)
    "$python" -m benchmarks.roofline ${quick[@]+"${quick[@]}"} --out "$OUT"
    "$python" -m benchmarks.run walks t5_step training ${quick[@]+"${quick[@]}"} --out "$OUT"
    ;;
2)
    timed meta_id_beauty "$python" -m launch.train "${config[@]}" --out "$RUN"
    cp "$RUN/results.json" "$OUT/meta_id_beauty.json"
    cp "$RUN/metrics.jsonl" "$OUT/meta_id_beauty.metrics.jsonl"
    ;;
3)
    # Compiling is in the first number and not in the second.
    timed beam_first "$python" -m launch.evaluate "$RUN" --beams 10
    timed beam_again "$python" -m launch.evaluate "$RUN" --beams 10
    cp "$RUN"/evaluations/test-beam-10-*/results.json "$OUT/beam10.json"
    "$python" -m benchmarks.run beam evaluation ${quick[@]+"${quick[@]}"} --out "$OUT"
    ;;
*)
    sed -n '2,/^set/{/^#/p}' "$0" >&2
    exit 2
    ;;
esac
