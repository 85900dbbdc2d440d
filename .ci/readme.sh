#!/usr/bin/env bash
# Runs every command that README.md shows (lines that begin with "$ " in its
# code blocks), in order, so that none of them goes stale. `make test` is run
# by .ci/run itself.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .cache/readme
go build -o .cache/readme/nasc ./cmd/nasc
export PATH="$PWD/.cache/readme:$PATH"
scratch="tiny.nasc digits.nasc digits.onnx digits.mlir report.html found.nasc digits.html digits.db digits.db-wal digits.db-shm digits.db.lock digits.db.weights"
rm -rf $scratch # a study of an earlier run would go on
n=0
while IFS= read -r line; do
	cmd=${line#\$ }
	case $cmd in "make test"* | "make bench-peers"* | "make models"*) continue ;; esac
	echo "README: $cmd"
	bash -euo pipefail -c "$cmd" > .cache/readme/out.txt 2>&1 < /dev/null || { cat .cache/readme/out.txt; echo "README: failed: $cmd"; exit 1; }
	n=$((n + 1))
done < <(grep '^\$ ' README.md)
rm -rf $scratch
echo "README: $n commands ran"
test "$n" -ge 5
