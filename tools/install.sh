#!/usr/bin/env bash
# Install a requirements list into a virtual environment with pip and report progress every ten seconds.
#
#     tools/install.sh VENV REQUIREMENTS [PIP OPTIONS...]
#
# Where pip's own configuration does not find the pinned CPU build of torch, which is not on its default index, uv installs that
# one package: it knows where PyTorch publishes these builds.
set -euo pipefail
readonly venv=$1 requirements=$2 uv=uv==0.13.9
readonly options=("${@:3}")
readonly log=$venv/install.log

pinned=$(sed -n 's/^torch==\([^ ]*+cpu\).*/\1/p' "$requirements")
if [[ $pinned ]] && ! "$venv/bin/pip" index versions torch 2>/dev/null | grep '^Available versions:' | grep -qwF -- "$pinned"; then
    echo "   pip finds no torch $pinned: uv installs it"
    "$venv/bin/pip" install -q -q "$uv"
    "$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps --torch-backend cpu "torch==$pinned"
fi

# transformers and vLLM import these wherever they are installed; the list leaves them out, and earlier lists did not.
if [[ $pinned ]]; then
    "$venv/bin/pip" uninstall -q -y scikit-learn scipy threadpoolctl 2>/dev/null
fi
"$venv/bin/pip" install "${options[@]}" -r "$requirements" >"$log" 2>&1 &
readonly installer=$!
trap 'kill "$installer" 2>/dev/null || true' EXIT
while sleep 10; kill -0 "$installer" 2>/dev/null; do
    collected=$(grep -cE '^(Collecting|Processing) ' "$log" || true)
    echo "   $SECONDS s, $collected packages collected, $(du -sh "$venv" | cut -f1) in place"
done
wait "$installer" || { status=$?; tail -n 20 "$log" >&2; exit "$status"; }
rm "$log"
