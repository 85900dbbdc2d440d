"""Compares imported models with onnxruntime and writes a table.

usage: compare.py [--report FILE] [--target cpu-f32] MODEL…
Inputs are seeded: standard normal, for the text detector a drawn page, token
ids below 1000, masks of ones. The difference is max |Δ| over the output's
largest magnitude, the worst output.

Of a quantized file each quantized node is also run alone, fed onnxruntime's own
values: it may be one step off. As a whole such a file is chaotic where its
scales come from the data (DynamicQuantizeLinear): one rounding more or less
moves whole tensors. So the table also says how far onnxruntime is from itself
with its graph optimizations off, over the same sentences (real ones where
../shared/data/stsb is there); nasc's mean cosine may be 5e-4 less than that.
"""
import argparse
import collections
import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

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
            x = page(dims) if Path(path).stem == "ocr_det" else rng.standard_normal(dims).astype(np.float32)
        out[i.name] = x
    return m, out


QUANTIZED = {"DynamicQuantizeLinear", "QuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul"}
SAMPLES = 32  # of a quantized text model


def page(shape):
    """A white page with rows of drawn digits, as a detector's input."""
    font = {0: "757", 1: "262", 2: "727", 3: "737", 4: "571", 5: "747", 6: "477", 7: "711", 8: "777", 9: "771"}
    n, c, h, w = shape
    img = np.ones((h, w), np.float32)
    rng = np.random.default_rng(1)
    for top in range(24, h - 40, 56):
        for left in range(24, w - 40, 20):
            if rng.random() < 0.2:
                continue
            for i, row in enumerate(font[int(rng.integers(10))]):
                for j in range(3):
                    if int(row) >> (2 - j) & 1:
                        img[top + 8 * i : top + 8 * i + 7, left + 5 * j : left + 5 * j + 4] = 0
    return np.broadcast_to((img - 0.5) / 0.5, (n, c, h, w)).astype(np.float32).copy()


def session(model, optimize=True):
    o = ort.SessionOptions()
    o.log_severity_level = 4
    if not optimize:
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])


def imported(args, path, feeds):
    """What nasc computes for a model, and the line that its tool prints."""
    with tempfile.TemporaryDirectory() as d:
        src, dst = Path(d) / "in", Path(d) / "out"
        src.mkdir(), dst.mkdir()
        for i, x in enumerate(feeds.values()):
            np.save(src / f"{i}.npy", x)
        r = subprocess.run([args.tool, "-target", args.target, path, str(src), str(dst)], capture_output=True, text=True)
        if r.returncode != 0:
            raise RuntimeError(r.stderr.strip())
        return [np.load(dst / f"{i}.npy") for i in range(len(list(dst.iterdir())))], r.stdout


def node_by_node(args, m, feeds):
    """Runs each quantized node alone on onnxruntime's values: nodes, elements that differ, the largest step."""
    init = {i.name: numpy_helper.to_array(i) for i in m.graph.initializer}
    nodes = [n for n in m.graph.node if n.op_type in QUANTIZED]
    watched = onnx.ModelProto()
    watched.CopyFrom(m)
    have = {o.name for o in m.graph.output}
    for name in sorted({x for n in nodes for x in [*n.input, *n.output] if x and x not in init and x not in have}):
        watched.graph.output.append(helper.make_empty_tensor_value_info(name))
    s = session(watched.SerializeToString(), optimize=False)
    values = dict(zip([o.name for o in s.get_outputs()], s.run(None, feeds))) | init | feeds
    off, worst = 0, 0.0
    for n in nodes:
        live = {x: values[x] for x in n.input if x and x not in init}
        g = helper.make_graph(
            [n], "node", [helper.make_tensor_value_info(x, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for x, v in live.items()],
            [helper.make_empty_tensor_value_info(o) for o in n.output], [numpy_helper.from_array(init[x], x) for x in n.input if x in init])
        with tempfile.NamedTemporaryFile(suffix=".onnx") as f:
            f.write(helper.make_model(g, opset_imports=m.opset_import, ir_version=8).SerializeToString())
            f.flush()
            got, _ = imported(args, f.name, live)
        for o, y in zip(n.output, got):
            d = np.abs(y.astype(np.float64) - values[o].astype(np.float64))
            off += int((d > 0).sum())
            worst = max(worst, float(d.max()))
    return len(nodes), off, worst


def embedding(y, mask):
    m = mask[..., None].astype(np.float64)
    e = (y.astype(np.float64) * m).sum(1) / m.sum(1)
    return e / np.linalg.norm(e, axis=-1, keepdims=True)


def sentences(args, path, names):
    """Cosines of a text model's embeddings over sentences: nasc to onnxruntime, onnxruntime to itself unoptimized."""
    rng = np.random.default_rng(2)
    stsb = Path(os.environ.get("NASC_SHARED", ROOT.parent / "shared")) / "data/stsb"
    real = np.load(stsb / "a_input_ids.npy") if stsb.exists() else None
    real_mask = np.load(stsb / "a_attention_mask.npy") if stsb.exists() else None
    a, b = session(path), session(path, optimize=False)
    ours, own = [], []
    for i in range(SAMPLES):
        if real is not None:
            at = i * len(real) // SAMPLES
            ids, mask = real[at : at + 1], real_mask[at : at + 1]
        else:
            n = int(rng.integers(8, 64))
            ids, mask = rng.integers(1996, 20000, (1, n)), np.ones((1, n), np.int64)
            ids[0, 0], ids[0, -1] = 101, 102
        feeds = {k: mask if "mask" in k else np.zeros_like(ids) if "type" in k else ids for k in names}
        e = embedding(a.run(None, feeds)[0], mask)
        own.append(float((e * embedding(b.run(None, feeds)[0], mask)).sum()))
        ours.append(float((e * embedding(imported(args, path, feeds)[0][0], mask)).sum()))
    return ours, own, "random" if real is None else "real"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--report")
    p.add_argument("--target", default="cpu-f32")
    p.add_argument("--tool", default=str(ROOT / ".cache/agreement"))
    p.add_argument("models", nargs="+")
    args = p.parse_args()
    rows, notes = [], []
    good = True
    for path in args.models:
        m, feeds = inputs(path)
        name = Path(path).name
        want = session(path).run(None, feeds)
        try:
            outputs, line = imported(args, path, feeds)
        except RuntimeError as e:
            print(f"{name}: {str(e)[:1500]}")
            rows.append(f"| {name} | refused: {str(e).splitlines()[0][:100]} | | | | | |")
            good = False
            continue
        opset, nodes, _, after = line.split()
        delta, cos = 0.0, 1.0
        for got, y in zip(outputs, want, strict=True):
            got, y = got.astype(np.float64), np.asarray(y).astype(np.float64)
            if got.shape != y.shape:
                print(f"{name}: an output is {got.shape}, wanted {y.shape}")
                delta = float("inf")
                continue
            delta = max(delta, np.abs(got - y).max() / max(np.abs(y).max(), 1e-30))
            cos = min(cos, float((got.ravel() @ y.ravel()) / (np.linalg.norm(got) * np.linalg.norm(y) + 1e-30)))
        kinds = len(collections.Counter(n.op_type for n in m.graph.node))
        row = f"| {Path(path).name} | {opset} | {nodes} | {kinds} | {after} | {delta:.2e} | {cos:.6f} |"
        print(row, flush=True)
        rows.append(row)
        if not any(n.op_type in QUANTIZED for n in m.graph.node):
            good = good and delta <= 1e-4
            continue
        count, off, worst = node_by_node(args, m, feeds)
        note = f"{name}: {count} quantized nodes, each fed onnxruntime's values: {off} elements differ, by {worst:g} at most."
        good = good and worst <= 1
        if any("input_ids" in k for k in feeds):
            ours, own, kind = sentences(args, path, list(feeds))
            note += (
                f" Embeddings of {SAMPLES} {kind} sentences, cosine to onnxruntime: mean {np.mean(ours):.6f}, least {min(ours):.6f}, 0.9999 or more in {sum(c >= 0.9999 for c in ours)};"
                f" onnxruntime without optimizations to itself: mean {np.mean(own):.6f}, least {min(own):.6f}, 0.9999 or more in {sum(c >= 0.9999 for c in own)}."
            )
            good = good and np.mean(ours) >= min(0.9999, np.mean(own) - 5e-4)
        print(note, flush=True)
        notes.append(note)
    if args.report:
        text = f"""# Imported models against onnxruntime {ort.__version__}, {datetime.date.today()}

`make agreement`: each model imported, brought to canonical form, run by {args.target}; seeded random inputs, for the detector a drawn page. Δ is max |Δ| over the output's largest magnitude (the worst output); cos is the cosine of the outputs.

| model | opset | ONNX nodes | op kinds | nodes after passes | Δ | cos |
|---|---|---|---|---|---|---|
""" + "\n".join(rows) + "\n"
        if notes:
            text += "\nQuantized files. Their scales come from the data, so that one rounding more or less moves whole tensors; what can be held is each node, and being about as near to onnxruntime as it is to itself with its graph optimizations off: a cosine of 0.9999 for every sentence is reached by neither.\n\n" + "\n".join("- " + n for n in notes) + "\n"
        Path(args.report).parent.mkdir(parents=True, exist_ok=True)
        Path(args.report).write_text(text)
    sys.exit(0 if good else 1)


main()
