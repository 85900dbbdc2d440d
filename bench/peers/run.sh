#!/usr/bin/env bash
# Times nasc, onnxruntime and OpenVINO side by side; see peers.py --help.
# The peers come through pip into .cache/peers.
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
exec $venv/bin/python bench/peers/peers.py --tools .cache/tools "$@"
