"""Runs the QDQ files that nasc exports in onnxruntime, node by node, and writes a table.

usage: compare.py [--report FILE] [--tool .cache/qdq] MODEL.nasc…
Each quantized node of a compiled model is exported alone and fed the inputs that
it has in nasc: it may be one step off, convolutions and dense layers not at all
(on a CPU with VNNI; without it onnxruntime itself saturates).
"""
import argparse
import collections
import datetime
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

ROOT = Path(__file__).resolve().parents[2]
EXACT = {"q_convolution", "q_convolution_transpose", "q_dot"}


def run(path, folder):
    o = ort.SessionOptions()
    o.log_severity_level = 4
    s = ort.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])
    return s.run(None, {x.name: np.load(folder / f"in{i}.npy") for i, x in enumerate(s.get_inputs())})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--report")
    p.add_argument("--tool", default=str(ROOT / ".cache/qdq"))
    p.add_argument("models", nargs="+")
    args = p.parse_args()
    rows, good = [], True
    for model in args.models:
        with tempfile.TemporaryDirectory() as d:
            subprocess.run([args.tool, model, d], check=True)
            stats = collections.defaultdict(lambda: [0, 0, 0, 0.0])  # nodes, differing, elements, largest step
            for folder in sorted(x for x in Path(d).iterdir() if x.is_dir()):
                op = (folder / "name").read_text().split()[0]
                if (folder / "error").exists():
                    print(f"{model}: refused: {(folder / 'error').read_text()}")
                    good = False
                    continue
                for i, y in enumerate(run(folder / "model.onnx", folder)):
                    want = np.load(folder / f"out{i}.npy")
                    delta = np.abs(y.astype(np.float64) - want.astype(np.float64))
                    if want.dtype == np.float32:  # f32 results: in units of 1e-5 of the largest
                        delta = np.floor(delta / max(np.abs(want).max(), 1e-30) / 1e-5)
                    s = stats[op]
                    s[0], s[1], s[2], s[3] = s[0] + 1, s[1] + int((delta > 0).sum()), s[2] + delta.size, max(s[3], float(delta.max(initial=0)))
            cos = "refused"
            if not (Path(d) / "error").exists():
                y, want = run(Path(d) / "whole.onnx", Path(d))[0].ravel().astype(np.float64), np.load(Path(d) / "out0.npy").ravel().astype(np.float64)
                cos = f"{y @ want / (np.linalg.norm(y) * np.linalg.norm(want) + 1e-30):.6f}"
            for op, (nodes, off, size, worst) in sorted(stats.items()):
                good = good and worst <= (0 if op in EXACT else 1)
                rows.append(f"| {Path(model).stem} | {cos} | {op} | {nodes} | {off} of {size} | {worst:g} |")
                print(rows[-1], flush=True)
    if args.report:
        Path(args.report).write_text(f"""# Exported QDQ files in onnxruntime {ort.__version__}, {datetime.date.today()}

Each quantized node of a compiled model, exported alone and fed the inputs that it has in nasc (`bench/qdq`). cos is the cosine between nasc's and onnxruntime's first output of the whole exported file, on random inputs.

| model | cos | op | nodes | elements that differ | largest step |
|---|---|---|---|---|---|
""" + "\n".join(rows) + "\n")
    sys.exit(0 if good else 1)


main()
