#!/usr/bin/env bash
# A Ray cluster over the nodes of one Slurm job, and one training run on it:
#
#     sbatch --nodes=2 --gpus-per-node=8 launch/cluster/slurm.sh model=qwen3_4b data=jsonl data.path=/shared/train.jsonl ...
#
# Submit it from the root of the repository, which all nodes must see at the same path, .venv included. Set TANDEM_CACHE and
# log.dir to shared storage, and INTERFACE to the network interface that nodes reach each other by.
#SBATCH --job-name=tandem
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit this script with sbatch}"
. .venv/bin/activate

interface=${INTERFACE:-eth0}
export RAY_PORT=$((20000 + SLURM_JOB_ID % 20000)) RAY_DASHBOARD_PORT=$((40000 + SLURM_JOB_ID % 20000))
# The token is in the home folder, which every node sees: the job's files, this folder among them, are uploaded.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/token-$SLURM_JOB_ID
(umask 077; mkdir -p "$HOME/.ray"; python -c "import secrets; print(secrets.token_hex(32), end='')" >"$RAY_AUTH_TOKEN_PATH")
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"; kill $(jobs -p) 2>/dev/null || true; wait' EXIT

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
on() { exec srun --nodes=1 --ntasks=1 --nodelist="$1" --overlap "${@:2}"; }
head=$(on "${nodes[0]}" python -c "import psutil, socket; print(next(a.address for a in psutil.net_if_addrs()['$interface'] if a.family == socket.AF_INET))")

on "${nodes[0]}" launch/cluster/start_node.sh head "$interface" &
for node in "${nodes[@]:1}"; do
    on "$node" launch/cluster/start_node.sh worker "$interface" "$head:$RAY_PORT" &
done
deadline=$((SECONDS + ${START_TIMEOUT_S:-300}))
until [ "$(ray list nodes --address "http://$head:$RAY_DASHBOARD_PORT" --format json 2>/dev/null | python -c 'import json, sys; print(len(json.load(sys.stdin)))' 2>/dev/null)" = "${#nodes[@]}" ]; do
    if [ "$SECONDS" -ge "$deadline" ] || [ "$(jobs -pr | wc -l)" -lt "${#nodes[@]}" ]; then
        echo "not all of ${#nodes[@]} nodes started within START_TIMEOUT_S=${START_TIMEOUT_S:-300}: see the output above" >&2
        exit 1
    fi
    sleep 2
done

submit=(ray job submit --address "http://$head:$RAY_DASHBOARD_PORT" --working-dir . --runtime-env conf/runtime_env.yaml)
name=tandem-$SLURM_JOB_ID
# Slurm sends this shell TERM before it kills: the run ends after a checkpoint.
trap 'ray job stop --address "http://$head:$RAY_DASHBOARD_PORT" "$name" || true' TERM
"${submit[@]}" --submission-id "$name" -- python launch/train.py mode=cluster "$@" &
wait $!
