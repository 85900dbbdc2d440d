#!/usr/bin/env bash
# Times nasc, onnxruntime and OpenVINO side by side; see peers.py --help.
# The peers come through pip into .cache/peers. HIDE=amx hides the tile registers
# from all engines: what a machine without them would show.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=.cache/peers
if ! [ -x $venv/bin/python ] || ! cmp -s bench/peers/requirements.txt $venv/installed.txt; then
	python3 -m venv $venv
	$venv/bin/pip install --quiet -r bench/peers/requirements.txt
	cp bench/peers/requirements.txt $venv/installed.txt
fi
go build -trimpath -buildvcs=false -o .cache/tools/nasc ./cmd/nasc
go build -trimpath -buildvcs=false -o .cache/tools/peers-worker ./bench/peers/worker
go build -trimpath -buildvcs=false -o .cache/tools/peak ./bench/peak
if [ "${HIDE:-}" = amx ]; then
	go build -trimpath -buildvcs=false -o .cache/tools/noamx ./bench/noamx
	exec .cache/tools/noamx $venv/bin/python bench/peers/peers.py --tools .cache/tools "$@"
fi
exec $venv/bin/python bench/peers/peers.py --tools .cache/tools "$@"
