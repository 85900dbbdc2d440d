"""nasc, onnxruntime and OpenVINO on the same networks, alternating.

Each measurement is a process of its own, warmed for a second, with nothing
else running; the engines take turns within a round. A ratio is the median over
rounds of (peer ms / nasc ms); above 1 nasc is faster. int8 files of the peers
come from their own tools (onnxruntime.quantization, nncf) on the calibration
data that nasc gets. nasc's output is compared in the same run with
onnxruntime's f32 output (cosine).
"""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("NASC_SHARED", ROOT.parent / "shared"))
CACHE = ROOT / ".cache"


def image(size):
    return {"input": ("f", (3, size, size))}


# name: (source, inputs without the batch; None: read from the file)
MODELS = {
    "resnet18": "zoo/resnet18.toml",
    "resnet50": "zoo/resnet50.toml",
    "mobilenetv2": "zoo/mobilenetv2.toml",
    "mobilenetv3-small": "zoo/mobilenetv3-small.toml",
    "efficientnet-lite0": SHARED / "models/efficientnet_lite0.onnx",
    "resnet20": SHARED / "models/cifar_resnet20.onnx",
    "vit-tiny": "zoo/vit-tiny.toml",
    "minilm-128": "zoo/minilm.toml",
    "mixer-small": "zoo/mixer-small.toml",
    "densenet-small": "zoo/densenet-small.toml",
    "opennsfw": CACHE / "models/opennsfw.onnx",
}


def sh(*cmd):
    p = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, cwd=ROOT)
    if p.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, cmd))}\n{p.stderr[-2000:]}")
    return p.stdout


def feeds(onnx_path, batch, seed, tokens=128):
    import onnx

    m = onnx.load(onnx_path, load_external_data=False)
    init = {i.name for i in m.graph.initializer}
    rng = np.random.default_rng(seed)
    out = {}
    for i in m.graph.input:
        if i.name in init:
            continue
        t = i.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in t.shape.dim]
        if dims and (dims[0] == 0 or batch > 1):
            dims[0] = batch
        dims = [tokens if d == 0 else d for d in dims]
        if t.elem_type == onnx.TensorProto.INT64:
            out[i.name] = np.ones(dims, np.int64) if "mask" in i.name else rng.integers(0, 1000, dims) * (0 if "type" in i.name else 1)
        else:
            out[i.name] = rng.standard_normal(dims).astype(np.float32)
    return out


def prepare(nasc, name, dtypes):
    """Makes the files of every engine; gives {(engine, dtype): path}."""
    d = CACHE / "bench" / name
    d.mkdir(parents=True, exist_ok=True)
    src = MODELS[name]
    f32 = d / "f32.onnx"
    if str(src).endswith(".onnx"):
        f32 = Path(src)
    else:
        sh(nasc, "export", src, "--format", "onnx", "-o", f32)
    files = {("onnxruntime", "f32"): f32, ("openvino", "f32"): f32}
    files["nasc", "f32"] = d / "f32.nasc"
    sh(nasc, "compile", f32, "--target", "cpu-f32", "-o", files["nasc", "f32"])
    info = {"f32": f32}
    if "int8" in dtypes:
        files["nasc", "int8"] = d / "int8.nasc"
        out = json.loads(sh(nasc, "compile", f32, "--target", "cpu-int8", "--calib", "synthetic", "-o", files["nasc", "int8"], "--json"))
        info["int8_mac_share"] = out["int8_mac_share"]
        calib = [feeds(f32, 1, 100 + i) for i in range(8)]
        files["onnxruntime", "int8"] = d / "ort-int8.onnx"
        files["openvino", "int8"] = d / "ov-int8.xml"
        if not files["onnxruntime", "int8"].exists():  # made once: the float model is the same file each time
            quantize_ort(f32, files["onnxruntime", "int8"], calib, "minilm" in name)
        if not files["openvino", "int8"].exists():
            quantize_ov(f32, files["openvino", "int8"], calib)
    return files, info


def quantize_ort(src, dst, calib, dynamic):
    from onnxruntime import quantization as q

    if dynamic:  # its best form of encoders
        q.quantize_dynamic(src, dst, weight_type=q.QuantType.QInt8)
        return

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            self.it = iter(calib)

        def get_next(self):
            return next(self.it, None)

    pre = dst.with_suffix(".pre.onnx")
    q.shape_inference.quant_pre_process(str(src), str(pre))
    q.quantize_static(str(pre), str(dst), Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True,
                      activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8)


def quantize_ov(src, dst, calib):
    import nncf
    import openvino as ov

    m = ov.Core().read_model(src)
    first = calib[0]
    m.reshape({i: [(-1 if a == 0 else n) for a, n in enumerate(first[i.any_name].shape)] for i in m.inputs})
    kind = nncf.ModelType.TRANSFORMER if any(v.dtype == np.int64 for v in first.values()) or "vit" in str(src) else None
    ov.save_model(nncf.quantize(m, nncf.Dataset(calib), model_type=kind, subset_size=len(calib)), dst)


def time_engine(args, engine, path, threads, batch, npz):
    if engine == "nasc":
        return json.loads(sh(args.nasc, "bench", path, "--threads", threads, "--batch", batch, "--runs", args.runs, "--json"))
    return json.loads(sh(sys.executable, ROOT / "bench/peers/worker.py", engine, path, threads, args.runs, npz).splitlines()[-1])


def cosine(args, files, info, dtype):
    import onnxruntime as ort

    x = feeds(info["f32"], 1, 7)
    want = ort.InferenceSession(str(info["f32"]), providers=["CPUExecutionProvider"]).run(None, x)[0].ravel()
    cmd = [args.nasc, "run", files["nasc", dtype]]
    for k, v in x.items():
        np.save(CACHE / "bench" / f"{k}.npy", v)
        cmd += ["--input", f"{k}={CACHE / 'bench' / k}.npy"]
    sh(*cmd, "--output", CACHE / "bench/y.npy")
    got = np.load(CACHE / "bench/y.npy").ravel()
    return float(want @ got / (np.linalg.norm(want) * np.linalg.norm(got) + 1e-30))


def cpu():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def chart(figures):
    """Bars of ms per network: int8, one thread, batch 1; longer is slower."""
    rows = [f for f in figures if f["dtype"] == "int8" and f["threads"] == 1 and f["batch"] == 1]
    colours = {"nasc": "#3b6ea5", "onnxruntime": "#c9a227", "openvino": "#9a6fb0"}
    y, parts = 30, []
    for f in rows:
        worst = max(f["ms"].values())
        parts.append(f'<text x="150" y="{y + 20}" text-anchor="end">{f["name"]}</text>')
        for i, (engine, ms) in enumerate(f["ms"].items()):
            w = 420 * ms / worst
            parts.append(f'<rect x="160" y="{y + 11 * i}" width="{w:.1f}" height="10" fill="{colours[engine]}"/>'
                         f'<text x="{165 + w:.1f}" y="{y + 11 * i + 9}" class="v">{ms:.2f} ms</text>')
        y += 44
    legend = "".join(f'<rect x="{160 + 130 * i}" y="6" width="10" height="10" fill="{c}"/><text x="{175 + 130 * i}" y="15">{e}</text>' for i, (e, c) in enumerate(colours.items()))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {y}" width="680" font-family="sans-serif" font-size="12">'
            f'<style>.v{{font-size:9px;fill:#444}}</style><rect width="680" height="{y}" fill="white"/>{legend}{"".join(parts)}</svg>\n')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--nasc", default="nasc")
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--dtypes", default="f32,int8")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--batch", default="1")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--runs", type=int, default=50)
    p.add_argument("--prepare", action="store_true", help="make the files and stop")
    p.add_argument("--report", default=f"bench/reports/peers-{datetime.date.today()}.md")
    args = p.parse_args()
    args.nasc = str(Path(args.nasc).resolve())
    dtypes = args.dtypes.split(",")
    rows, figures = [], []
    for name in args.models.split(","):
        try:
            files, info = prepare(args.nasc, name, dtypes)
        except Exception as e:  # one network that an engine cannot take must not lose the others' rows
            print(f"{name}: {e}", file=sys.stderr)
            rows.append(f"| {name} | not measured: {str(e).splitlines()[-1][:120]} | | | | | | | | |")
            continue
        if args.prepare:
            continue
        for dtype in dtypes:
            cos = cosine(args, files, info, dtype)
            for batch in map(int, args.batch.split(",")):
                npz = CACHE / "bench/x.npz"
                np.savez(npz, **feeds(info["f32"], batch, 1))
                for threads in map(int, args.threads.split(",")):
                    t = {e: [] for e in ("nasc", "onnxruntime", "openvino")}
                    for _ in range(args.rounds):
                        for e in t:
                            t[e].append(time_engine(args, e, files[e, dtype], threads, batch, npz)["median_ms"])
                    n = np.array(t["nasc"])
                    best = np.minimum(t["onnxruntime"], t["openvino"])
                    ratio = lambda v: float(np.median(np.array(v) / n))
                    spread = f"{n.min():.2f}–{n.max():.2f}"
                    row = (f"| {name} | {dtype} | {threads} | {batch} | {np.median(n):.3f} ({spread}) | {np.median(t['onnxruntime']):.3f} | "
                           f"{np.median(t['openvino']):.3f} | {ratio(t['onnxruntime']):.2f} | {ratio(t['openvino']):.2f} | {ratio(best):.2f} | {cos:.4f} |")
                    print(row, flush=True)
                    rows.append(row)
                    figures.append({"name": name, "dtype": dtype, "threads": threads, "batch": batch, "ms": {e: float(np.median(v)) for e, v in t.items()}, "ratio": ratio(best)})
    if args.prepare:
        print("\n".join(rows))
        return
    summary = []
    for dtype in dtypes:
        for threads in map(int, args.threads.split(",")):
            r = [f["ratio"] for f in figures if f["dtype"] == dtype and f["threads"] == threads and f["batch"] == 1]
            if r:
                summary.append(f"{dtype}, {threads} thread(s), batch 1: geometric mean over {len(r)} networks {float(np.exp(np.mean(np.log(r)))):.2f} times as fast as the faster peer, the least {min(r):.2f}.")
    import onnxruntime
    import openvino

    out = ROOT / args.report
    out.parent.mkdir(parents=True, exist_ok=True)
    features = sorted(set(w for w in open("/proc/cpuinfo").read().split() if w in ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni")))
    text = f"""# nasc and its peers, {datetime.date.today()}

`make bench-peers` on {cpu()} ({os.cpu_count()} cores; {' '.join(features)}), {platform.system()} {platform.release()}; onnxruntime {onnxruntime.__version__}, OpenVINO {openvino.__version__.split('-')[0]}.
{args.rounds} alternating rounds, each engine in a warmed process of its own, {args.runs} runs or more a round; ms are medians over rounds (in brackets nasc's least and greatest round). A ratio above 1 says that nasc is faster; "faster peer" compares with the better of the two in each round. cos: nasc's output against onnxruntime's f32.

| network | type | threads | batch | nasc ms | onnxruntime ms | OpenVINO ms | ÷ onnxruntime | ÷ OpenVINO | ÷ faster peer | cos |
|---|---|---|---|---|---|---|---|---|---|---|
""" + "\n".join(rows) + "\n\n" + "\n".join(f"- {x}" for x in summary) + "\n"
    tmp = out.with_suffix(".tmp")
    tmp.write_text(text)
    tmp.rename(out)
    out.with_suffix(".svg").write_text(chart(figures))
    print(f"wrote {out}", file=sys.stderr)


main()
