#!/usr/bin/env bash
# The measurements on a GPU, in parts of under ten minutes each, without network:
#
#   bash benchmarks/gpu.sh 1    what the device can do, a T5 training step's share of it, the workloads with their peers
#   bash benchmarks/gpu.sh 2    META ID on Beauty from walks to results.json, ten epochs of T5-small
#   bash benchmarks/gpu.sh 3    beam search, ten beams, over all users of part 2's model; evaluation
#   bash benchmarks/gpu.sh 4    TokenRec's parts: search of a million vectors, its training step, retrieval beside beams,
#                               a LightGCN epoch, faiss
#   bash benchmarks/gpu.sh 5    TokenRec on Beauty from LightGCN to results.json
#   bash benchmarks/gpu.sh 6    TokenRec's study on Last.fm, a row a config, for the seeds in $SEEDS (default 0)
#   bash benchmarks/gpu.sh 7    LLaMA 2 7B, LoRA, random weights: memory computed and taken, tokens a second; META ID (L) on
#                               Beauty for 20 steps (from the weights in $LLAMA, a local folder or a hub name, if set)
#   bash benchmarks/gpu.sh 8    the five tasks on Musical Instruments, T5-small (from $WEIGHTS, if set)
#
# The targets of part 4: an epoch of LightGCN on Beauty (lightgcn.json, ours.median) under 0.1 s, the top 20 of a million
# under 0.05 ms a user for 256 users (search.json). A run that is cut off goes on when its part is called again.
#
# The machine needs jax, flax, optax, orbax, torch and transformers; part 4's last line also needs faiss-cpu. What else
# requirements.txt names may lie as wheels in the folder $WHEELS. Data is looked up in $JAXREC_DATA (default
# ../shared/data). JSON goes to $OUT (default docs/results/gpu), runs to $RUN, $RUN-token_rec, $RUN-token_rec_lastfm,
# $RUN-llama and $RUN-instruments (RUN is runs/gpu by default). WEIGHTS names a T5 that parts 5 and 8 start from, a local folder or a hub name;
# without, its config decides. QUICK=1 runs tiny sizes of everything, on any device.
set -euo pipefail
cd "$(dirname "$0")/.."

part=${1:-}
OUT=${OUT:-docs/results/gpu}
RUN=${RUN:-runs/gpu}
python=${PYTHON:-python3}
quick=()
config=(configs/meta_id_beauty.py)
token_rec=(configs/token_rec_beauty.py)
texts=(configs/instruments.py)
study=configs/studies/token_rec_lastfm_study.py
memory=(--shape llama-2-7b --rows 4 --length 1024)
llama=(configs/meta_id_beauty_llama.py --model.init-from "${LLAMA:-None}" --train.steps 20 --train.validate-users 64)
if [ -n "${QUICK:-}" ]; then
    quick=(--quick)
    tiny=(--train.steps 20 --data.world.users 300 --data.world.items 100)
    config=(configs/demo.py "${tiny[@]}")
    token_rec=(configs/demo_token_rec.py "${tiny[@]}" --lightgcn.epochs 5 --quantizer.epochs 5)
    texts=(configs/demo.py "${tiny[@]}" --task.tasks sequential rating explanation review --train.target-length 64)
    study=${TMPDIR:-/tmp}/jaxrec_quick_study.py
    memory=(--shape qwen3-0.6b --layers 1 --rows 1 --length 64)
    llama=(configs/demo.py "${tiny[@]}" --model.backbone llama --model.lora.rank 4 --model.llama.d-model 32
        --model.llama.d-kv 16 --model.llama.heads 2 --model.llama.kv-heads 1 --model.llama.d-ff 64 --model.llama.layers 1)
    cat >"$study" <<'PYTHON'
from benchmarks.ablation import quick
from jaxrec.config import load_config

presets = {"META ID": "demo", "TokenRec": "demo_token_rec"}
study = {name: quick(load_config(preset)) for name, preset in presets.items()}
PYTHON
fi
if [ -n "${WEIGHTS:-}" ]; then
    token_rec+=(--model.init-from "$WEIGHTS")
    texts+=(--model.init-from "$WEIGHTS")
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
4)
    "$python" -m benchmarks.latency ${quick[@]+"${quick[@]}"} --out "$OUT"
    "$python" -m benchmarks.run token_rec latency lightgcn ${quick[@]+"${quick[@]}"} --out "$OUT"
    "$python" -m benchmarks.run retrieval ${quick[@]+"${quick[@]}"} --out "$OUT"
    ;;
5)
    timed token_rec_beauty "$python" -m launch.train "${token_rec[@]}" --out "$RUN-token_rec"
    cp "$RUN-token_rec/results.json" "$OUT/token_rec_beauty.json"
    cp "$RUN-token_rec/metrics.jsonl" "$OUT/token_rec_beauty.metrics.jsonl"
    ;;
6)
    # shellcheck disable=SC2086 # several seeds are several arguments
    timed token_rec_lastfm "$python" -m launch.compare "$study" --seeds ${SEEDS:-0} --out "$RUN-token_rec_lastfm"
    cp "$RUN-token_rec_lastfm/results.json" "$OUT/token_rec_lastfm.json"
    ;;
7)
    "$python" -m benchmarks.memory "${memory[@]}" --out "$OUT/llama_computed.json"
    "$python" -m benchmarks.memory "${memory[@]}" --run 10 --out "$OUT/llama_run.json"
    timed llama_beauty "$python" -m launch.train "${llama[@]}" --out "$RUN-llama"
    cp "$RUN-llama/results.json" "$OUT/llama_beauty.json"
    cp "$RUN-llama/metrics.jsonl" "$OUT/llama_beauty.metrics.jsonl"
    ;;
8)
    timed instruments "$python" -m launch.train "${texts[@]}" --out "$RUN-instruments"
    cp "$RUN-instruments/results.json" "$OUT/instruments.json"
    cp "$RUN-instruments/metrics.jsonl" "$OUT/instruments.metrics.jsonl"
    ;;
*)
    sed -n '2,/^set/{/^#/p}' "$0" >&2
    exit 2
    ;;
esac
