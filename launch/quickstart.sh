#!/usr/bin/env bash
# Set everything up, build a small maze dataset, pre-train SMAC, fine-tune with SAC, and report.
# Usage: ./launch/quickstart.sh [WORKDIR]
# The same command again goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
workdir=${1:-runs/quickstart}
. launch/setup.sh ""  # Without an argument it would see WORKDIR.
python=.venv/bin/python
dataset=pointmaze/umaze-v0
mkdir -p "$workdir"
export MINARI_DATASETS_PATH="$workdir/minari"

[ -f "$MINARI_DATASETS_PATH/$dataset/data/metadata.json" ] ||
  "$python" -m launch.make_dataset --recipe=pointmaze --output="$dataset"
"$python" -m launch.pretrain --config=configs/smac.py:pointmaze-small --dataset="$dataset" \
  --workdir="$workdir/pretrain" --seeds=0,1,2
"$python" -m launch.finetune --checkpoint="$workdir/pretrain" --algorithm=sac --workdir="$workdir/finetune-sac"
"$python" -m launch.report --workdir="$workdir"
