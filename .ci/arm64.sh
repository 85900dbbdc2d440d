#!/usr/bin/env bash
# The kernels of arm64, with and without SDOT, and a network on every level of
# theirs against the interpreter, bit for bit. On another machine qemu runs
# them; without it the script says what to install and does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
run=()
if [ "$(go env GOHOSTARCH)" != arm64 ]; then
	if ! command -v qemu-aarch64 > /dev/null; then
		echo "arm64: skipped: no qemu-aarch64 here; on Debian or Ubuntu: apt-get install -y qemu-user"
		exit 0
	fi
	run=(qemu-aarch64 -cpu max)
fi
os=linux
if [ "$(go env GOHOSTARCH)" = arm64 ]; then os=$(go env GOHOSTOS); fi
arm() { GOOS=$os GOARCH=arm64 CGO_ENABLED=0 go "$@"; }
dir=$PWD/.cache/arm64
mkdir -p "$dir"
# tests PACKAGE WHAT RUNNER...: the kernels' tests but those of the generator.
tests() {
	local pkg=$1 what=$2
	shift 2
	arm test -c -o "$dir/$pkg.test" "./backends/cpu/kernels/$pkg"
	(cd "backends/cpu/kernels/$pkg" && "$@" "$dir/$pkg.test" -test.skip Generated | sed "s/^/arm64: $pkg, $what: /")
}
export NASC_ISA=
tests isa levels "${run[@]}"
tests move "all levels" "${run[@]}"
tests peak loops "${run[@]}"
tests int8 "all levels" "${run[@]}"
# The same without SDOT; floats do not tell the two levels apart.
NASC_ISA=neon tests f32 neon "${run[@]}"
if [ ${#run[@]} -gt 0 ]; then tests int8 "no SDOT" qemu-aarch64 -cpu cortex-a72; fi
arm build -o "$dir/nasc" ./cmd/nasc
go run ./cmd/nasc compile zoo/digits-cnn.toml --target cpu-int8 --calib 'digits[0:200]' -o "$dir/digits.nasc" > "$dir/compile.txt" 2>&1 || { cat "$dir/compile.txt"; exit 1; }
targets=reference
for l in neondot neon portable; do targets+=,cpu-int8@$l; done
"${run[@]}" "$dir/nasc" verify "$dir/digits.nasc" --targets "$targets" --bit-equal
