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
go build -o .cache/nasc ./cmd/nasc
exec $venv/bin/python bench/peers/peers.py --nasc .cache/nasc "$@"
