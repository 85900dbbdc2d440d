#!/bin/sh
# Prunes by both, fine-tunes, times and reports; goes on where it was stopped.
# Needs ../shared, and pip for PyTorch (5.7 GB, once).
set -eu
dir=.cache/pruning
mkdir -p "$dir"
if [ ! -x .cache/torch/bin/python ]; then
	python3 -m venv .cache/torch
	.cache/torch/bin/pip install --quiet -r bench/pruning/requirements.txt pillow
fi
go build -o "$dir/pruning" ./bench/pruning
"$dir/pruning" -splits 3 prepare
for share in 0.70 0.50 0.35; do
	for imp in l2 taylor; do
		out="$dir/cifar-torch-$imp-$share.onnx"
		[ -e "$out" ] || .cache/torch/bin/python bench/pruning/torch_prune.py ../shared/models/cifar_resnet32.onnx --macs "$share" --importance "$imp" \
			--data cifar:../shared/data/cifar10/train.bin.gz --samples 400 --inner -o "$out"
	done
done
for split in 1 2 3; do
	for share in 0.90 0.80 0.70; do
		for imp in l2 taylor; do
			out="$dir/lite0-torch-$imp-$share-s$split.onnx"
			[ -e "$out" ] || .cache/torch/bin/python bench/pruning/torch_prune.py ../shared/models/efficientnet_lite0.onnx --macs "$share" --importance "$imp" \
				--data "pictures:$dir/split$split-100.tsv" -o "$out"
		done
	done
done
"$dir/pruning" match
"$dir/pruning" "$@" train
"$dir/pruning" time
"$dir/pruning" -report "bench/reports/pruning-$(date +%F).md" report
