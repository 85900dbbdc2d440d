"""Compares imported models with onnxruntime and writes a table.

usage: compare.py [--report FILE] [--target cpu-f32] MODEL…
Inputs are seeded: images standard normal, token ids below 1000, masks of ones.
The difference is max |Δ| over the output's largest magnitude, the worst output.
"""
import argparse
import collections
import datetime
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

ROOT = Path(__file__).resolve().parents[2]
# extents of axes that the files leave open
OPEN = {"ocr_det": [1, 3, 320, 320], "ocr_rec": [1, 3, 48, 320], "ocr_cls": [1, 3, 48, 192], "minilm": [2, 64], "minilm_int8": [2, 64]}


def inputs(path):
    m = onnx.load(path, load_external_data=False)
    init = {i.name for i in m.graph.initializer}
    rng = np.random.default_rng(1)
    out = {}
    for i in m.graph.input:
        if i.name in init:
            continue
        t = i.type.tensor_type
        dims = [d.dim_value if d.dim_value > 0 else 0 for d in t.shape.dim]
        want = OPEN.get(Path(path).stem)
        for a, d in enumerate(dims):
            if d == 0:
                dims[a] = want[a] if want else 2
        if t.elem_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
            kind = np.int64 if t.elem_type == onnx.TensorProto.INT64 else np.int32
            x = np.ones(dims, kind) if "mask" in i.name else np.zeros(dims, kind) if "type" in i.name else rng.integers(0, 250, dims).astype(kind)
        else:
            x = rng.standard_normal(dims).astype(np.float32)
        out[i.name] = x
    return m, out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--report")
    p.add_argument("--target", default="cpu-f32")
    p.add_argument("--tool", default=str(ROOT / ".cache/agreement"))
    p.add_argument("models", nargs="+")
    args = p.parse_args()
    rows = []
    worst = 0
    for path in args.models:
        m, feeds = inputs(path)
        want = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)
        with tempfile.TemporaryDirectory() as d:
            src, dst = Path(d) / "in", Path(d) / "out"
            src.mkdir(), dst.mkdir()
            for i, x in enumerate(feeds.values()):
                np.save(src / f"{i}.npy", x)
            r = subprocess.run([args.tool, "-target", args.target, path, str(src), str(dst)], capture_output=True, text=True)
            if r.returncode != 0:
                print(f"{Path(path).name}: {r.stderr.strip()[:1500]}")
                rows.append(f"| {Path(path).name} | refused: {r.stderr.strip().splitlines()[0][:100] if r.stderr.strip() else r.returncode} | | | | |")
                worst = 1
                continue
            opset, nodes, _, after = r.stdout.split()
            delta, cos = 0.0, 1.0
            for i, y in enumerate(want):
                got = np.load(dst / f"{i}.npy").astype(np.float64)
                y = np.asarray(y).astype(np.float64)
                if got.shape != y.shape:
                    print(f"{Path(path).name}: output {i} is {got.shape}, wanted {y.shape}")
                    delta = float("inf")
                    continue
                delta = max(delta, np.abs(got - y).max() / max(np.abs(y).max(), 1e-30))
                cos = min(cos, float((got.ravel() @ y.ravel()) / (np.linalg.norm(got) * np.linalg.norm(y) + 1e-30)))
        kinds = len(collections.Counter(n.op_type for n in m.graph.node))
        row = f"| {Path(path).name} | {opset} | {nodes} | {kinds} | {after} | {delta:.2e} | {cos:.6f} |"
        print(row, flush=True)
        rows.append(row)
        worst = max(worst, delta if "int8" not in path else 1 - cos)
    if args.report:
        text = f"""# Imported models against onnxruntime {ort.__version__}, {datetime.date.today()}

`make agreement`: each model imported, brought to canonical form, run by {args.target}; seeded random inputs. Δ is max |Δ| over the output's largest magnitude (the worst output); cos is the cosine of the outputs.

| model | opset | ONNX nodes | op kinds | nodes after passes | Δ | cos |
|---|---|---|---|---|---|---|
""" + "\n".join(rows) + "\n"
        Path(args.report).parent.mkdir(parents=True, exist_ok=True)
        Path(args.report).write_text(text)
    sys.exit(1 if worst > 1e-4 else 0)


main()
