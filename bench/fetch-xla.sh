#!/usr/bin/env bash
# Brings the XLA CPU plugin (PJRT) through pip into the user's cache, where nasc
# finds it. The wheel is pinned by version and digest.
set -euo pipefail
package=lammps-jax-pjrt-cpu
version=0.11.2
sha256=1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1
dir=${NASC_XLA_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/nasc/xla}
plugin=$dir/pjrt_c_api_cpu_plugin.so

if [ -e "$plugin" ] && [ "$(cat "$dir/version" 2>/dev/null)" = "$package-$version" ]; then
	echo "XLA plugin: $plugin"
	exit 0
fi
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
	echo "the plugin's wheel is for linux on x86_64, this is $(uname -s) on $(uname -m); go-xla's installer has others: set PJRT_PLUGIN_LIBRARY_PATH to its folder" >&2
	exit 1
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m pip download --quiet --no-deps --dest "$tmp" "$package==$version"
wheel=$(ls "$tmp"/*.whl)
got=$(sha256sum "$wheel" | cut -d' ' -f1)
if [ "$got" != $sha256 ]; then
	echo "$(basename "$wheel"): sha256 is $got, wanted $sha256" >&2
	exit 1
fi
mkdir -p "$dir"
python3 - "$wheel" "$dir" <<'PY'
import os, shutil, sys, zipfile
wheel, dest = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        base = os.path.basename(name)
        if base in ("pjrt_c_api_cpu_plugin.so", "LICENSE", "THIRD_PARTY_NOTICES"):
            with z.open(name) as src, open(os.path.join(dest, base + ".tmp"), "wb") as dst:
                shutil.copyfileobj(src, dst)
            os.replace(os.path.join(dest, base + ".tmp"), os.path.join(dest, base))
PY
echo "$package-$version" > "$dir/version"
echo "XLA plugin: $plugin"
