#!/usr/bin/env bash
# Train and judge all arms of results/faces64.yaml at once, one process a network, on one GPU.
# bash results/faces64_gpu.sh DATA OUT [CONFIG]; about nine minutes on an H100.
set -u
data=$1 out=$2 config=${3:-results/faces64.yaml} python=${PYTHON:-python3}
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
size=$(sed -n 's/^resolution: *//p' "$config")
began=$(date +%s)
say() { echo "[$(($(date +%s) - began)) s] $*"; }
mkdir -p "$out"
if [ ! -d "$out/data" ]; then
    "$python" -m ssd_models.cli prepare "$data" -o "$out/data" --resolution "$size" \
        2>"$out/prepare.log" || { tail -n 1 "$out/prepare.log"; exit 1; }
fi
say "data prepared"
# Arms that judge the network of another are done by its process, after it.
groups=$("$python" - "$config" <<'PY'
import sys, yaml
arms = yaml.safe_load(open(sys.argv[1]))["arms"]
groups = {name: [name] for name, arm in arms.items() if "network" not in arm}
for name, arm in arms.items():
    if "network" in arm:
        groups[arm["network"]].append(name)
print("\n".join(" ".join(names) for names in groups.values()))
PY
)
first=1
while read -r arms; do
    name=${arms%% *}
    # shellcheck disable=SC2086
    "$python" -m ssd_models.cli compare "$config" --data "$out/data" -o "$out/runs" --arms $arms \
        >"$out/$name.log" 2>&1 &
    if [ $first = 1 ]; then # it makes the folder and measures the spectrum
        while [ ! -f "$out/runs/spectrum.npz" ] && kill -0 $! 2>/dev/null; do sleep 0.2; done
        first=0
    fi
done <<<"$groups"
wait
say "all arms done"
"$python" -m ssd_models.cli compare "$config" --data "$out/data" -o "$out/runs" >"$out/collect.log" 2>&1
say "results collected: $out/runs/results.json"
tail -qn 1 "$out"/*.log | cut -c1-200
