"""Makes the files of every engine, each int8 one by its engine's own best tool
on the same calibration data; all are kept until what they come from changes."""
import hashlib
import json
import os
import subprocess
import sys

import numpy as np

from engines import EngineError, Worker
from networks import CALIBRATION, NETWORKS, ROOT, WORK, feeds, fix_shapes, inputs_of, peers, write_inputs

FORM = 5  # of what lies in a network's folder: a new number makes all of it anew


def sh(*cmd):
    p = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, cwd=ROOT)
    if p.returncode != 0:
        raise RuntimeError((p.stderr.strip().splitlines() or [f"{cmd[0]} failed"])[-1][:300])
    return p.stdout


def digest(*paths):
    h = hashlib.sha256()
    for p in paths:
        h.update(p.read_bytes())
    return h.hexdigest()[:16]


def compiler():
    """A digest of what decides a compiled file: the engine's kernels do not, so
    that a faster kernel does not make all files anew."""
    parts = ["compile.go", "model.go", "model_arch.go", "sources.go", *(f"{d}/**/*" for d in ("ir", "quant", "passes", "frontend", "zoo", "internal/fmath", "internal/nascfile", "internal/data"))]
    files = sorted(f for p in parts for f in ROOT.glob(p) if f.suffix in (".go", ".toml") and not f.name.endswith("_test.go"))
    return digest(*files)


class Files:
    """A network's files: path(engine, dtype), inputs(batch), want(batch), info."""

    def __init__(self, tools, name, say):
        self.tools, self.name, self.net, self.say = tools, name, NETWORKS[name], say
        self.dir = WORK / "nets" / name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.note = self.dir / "info.json"
        self.info = json.loads(self.note.read_text()) if self.note.exists() else {}
        if self.info.get("form") != FORM:
            self.info = {"form": FORM}

    def keep(self, **facts):
        self.info |= facts
        tmp = self.note.with_suffix(".tmp")
        tmp.write_text(json.dumps(self.info, indent=1))
        tmp.rename(self.note)

    def path(self, engine, dtype):
        if engine == "nasc":
            return self.dir / f"{dtype}.nasc"
        return self.dir / self.info[f"{engine}-{peers(dtype)}"]

    def inputs(self, batch):
        return self.dir / f"inputs-{batch}"

    def want(self, batch):
        return self.dir / f"want-{batch}.npy"

    @property
    def f32(self):
        return self.dir / "f32.onnx"

    def calibration(self):
        return [feeds(self.f32, 1, 100 + i, self.net) for i in range(CALIBRATION)]

    def prepare(self, dtypes, batches, choose=False):
        """Makes what is missing; choose: times the peers' forms again."""
        if "onnx" not in self.info or not self.f32.exists():
            self.say("model")
            if self.net.source.suffix == ".onnx":
                if not (ROOT / self.net.source).exists():
                    raise RuntimeError(f"{self.net.source} is missing; `make models` fetches models, NASC_SHARED=DIR names the folder of models/")
                fix_shapes(self.net.source, self.f32, self.net)
            else:
                sh(self.tools.nasc, "export", self.net.source, "--format", "onnx", "-o", self.f32)
            for old in self.dir.glob("want-*"):
                old.unlink()
            for old in self.dir.glob("inputs-*/names.txt"):
                old.unlink()
            self.info = {"form": FORM}
            self.keep(onnx=digest(self.f32), free=["N"])
        for b in batches:
            if not (self.inputs(b) / "names.txt").exists() or not self.want(b).exists():
                self.say(f"inputs, batch {b}")
                write_inputs(self.f32, self.inputs(b), b, 7, self.net)
                with Worker(self.tools.worker, "onnxruntime", self.f32, 2, self.inputs(b)) as w:
                    w.ready().ask("out", self.want(b))
        for dtype in dtypes:
            self.nasc(dtype)
            dtype = peers(dtype)
            for engine in ("onnxruntime", "openvino"):
                made = self.info.get(f"{engine}-{dtype}-made", {})
                if not made or not all((self.dir / name).exists() for name in made.values()):
                    self.say(f"{engine} {dtype}")
                    self.make(engine, dtype)
                    self.choose(engine, dtype)
                elif choose and len(made) > 1 or f"{engine}-{dtype}" not in self.info:
                    self.choose(engine, dtype)

    def nasc(self, dtype):
        made = f"{self.tools.compiler} {self.info['onnx']} {CALIBRATION}"
        if dtype != peers(dtype):  # its kernels decide, too
            made += f" {digest(self.tools.nasc)}"
        if self.info.get(f"nasc-{dtype}") == made and self.path("nasc", dtype).exists():
            return
        self.say(f"nasc {dtype}")
        cmd = [self.tools.nasc, "compile", self.f32, "--target", f"cpu-{peers(dtype)}", "--threads", os.cpu_count(), "-o", self.path("nasc", dtype), "--json"]
        if dtype != peers(dtype):
            cmd += ["--winograd", "--tune"]
        if dtype == "int8":
            parts = []
            calib = self.calibration()
            for i, (name, _, _) in enumerate(inputs_of(self.f32)):
                np.save(self.dir / f"calib-{i}.npy", np.concatenate([c[name] for c in calib]))
                parts.append(f"{name}={self.dir}/calib-{i}.npy")
            cmd += ["--calib", "npy:" + (",".join(parts) if len(parts) > 1 else parts[0].split("=", 1)[1])]
        out = json.loads(sh(*cmd))
        facts = {f"nasc-{dtype}": made, "macs": json.loads(sh(self.tools.nasc, "inspect", self.path("nasc", dtype), "--json"))["macs"]}
        if dtype == "int8":
            facts["int8_mac_share"] = out["int8_mac_share"]
        self.keep(**facts)

    def make(self, engine, dtype):
        """Makes the forms that an engine's tools offer."""
        made, failed = {}, {}
        for form, make in FORMS[engine, dtype].items():
            try:
                path = make(self)
            except Exception as e:  # one form that a tool cannot make leaves the others
                failed[form] = last_line(e)
                continue
            if path is not None:
                made[form] = path.name
        if not made:
            raise RuntimeError(f"{engine} {dtype}: " + "; ".join(failed.values()))
        self.keep(**{f"{engine}-{dtype}-made": made, f"{engine}-{dtype}-failed": failed})

    def choose(self, engine, dtype):
        """Times the forms in turn, one thread and batch 1, and keeps the fastest."""
        made, failed = (self.info[f"{engine}-{dtype}-{k}"] for k in ("made", "failed"))
        workers, took = {}, {}
        try:
            for form, name in made.items():
                workers[form] = Worker(self.tools.worker, engine, self.dir / name, 1, self.inputs(1), self.tools.options(engine, dtype, 1, self.info["free"]))
                try:
                    workers[form].ready()
                    took[form] = float("inf")
                except EngineError as e:
                    failed[form] = last_line(e)
            for _ in range(5 if len(took) > 1 else 1):
                for form in took:
                    took[form] = min(took[form], float(np.median(workers[form].ask("run", 0.1, 0.2, 3, 50))))
        finally:
            for w in workers.values():
                w.close()
        for form, why in failed.items():
            print(f"  {self.name}: {engine} {dtype} as {form}: {why}", file=sys.stderr)
        if not took:
            raise RuntimeError(f"{engine} {dtype}: " + "; ".join(failed.values()))
        best = min(took, key=took.get)
        self.keep(**{f"{engine}-{dtype}": made[best], f"{engine}-{dtype}-form": best, f"{engine}-{dtype}-forms": took, f"{engine}-{dtype}-failed": failed})


def last_line(e):
    return (str(e).strip().splitlines() or [type(e).__name__])[-1][:200]


def as_it_is(files):
    return files.f32


def fused(files):
    """onnxruntime's offline optimizer of transformers."""
    if not files.net.transformer:
        return None
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    kind = "vit" if files.net.vit else "bert"
    dst = files.dir / "ort-fused.onnx"
    o = FusionOptions(kind)
    m = optimizer.optimize_model(str(files.f32), model_type=kind, num_heads=files.net.heads, hidden_size=files.net.width, optimization_options=o, opt_level=0)
    m.save_model_to_file(str(dst))
    return dst


def opset13(files):
    """The model in the first opset whose QDQ nodes take scales per channel."""
    import onnx

    m = onnx.load(files.f32)
    if next(o.version for o in m.opset_import if o.domain in ("", "ai.onnx")) >= 13:
        return files.f32
    dst = files.dir / "opset13.onnx"
    onnx.save(onnx.version_converter.convert_version(m, 13), dst)
    return dst


def ort_static(files):
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            self.it = iter(files.calibration())

        def get_next(self):
            return next(self.it, None)

    src, pre, dst = opset13(files), files.dir / "ort-pre.onnx", files.dir / "ort-static.onnx"
    try:
        q.shape_inference.quant_pre_process(str(src), str(pre))
    except Exception:  # symbolic shapes that it cannot follow
        q.shape_inference.quant_pre_process(str(src), str(pre), skip_symbolic_shape=True)
    q.quantize_static(str(pre), str(dst), Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True,
                      activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8)
    return dst


def ort_dynamic(files):
    if not files.net.transformer:
        return None
    from onnxruntime import quantization as q

    dst = files.dir / "ort-dynamic.onnx"
    q.quantize_dynamic(str(files.f32), str(dst), weight_type=q.QuantType.QInt8)
    return dst


def ort_fused_dynamic(files):
    src = fused(files)
    if src is None:
        return None
    from onnxruntime import quantization as q

    dst = files.dir / "ort-fused-dynamic.onnx"
    q.quantize_dynamic(str(src), str(dst), weight_type=q.QuantType.QInt8, extra_options={"DefaultTensorType": 1})  # the fused ops have no shape inference; 1: float
    return dst


def nncf_form(files, preset):
    import nncf
    import openvino as ov

    m = ov.Core().read_model(files.f32)
    calib = files.calibration()
    m.reshape({i: [-1, *calib[0][i.any_name].shape[1:]] for i in m.inputs})
    kind = nncf.ModelType.TRANSFORMER if files.net.transformer else None
    dst = files.dir / f"ov-{preset}.xml"
    ov.save_model(nncf.quantize(m, nncf.Dataset(calib), model_type=kind, subset_size=len(calib), preset=getattr(nncf.QuantizationPreset, preset.upper())), dst)
    return dst


FORMS = {
    ("onnxruntime", "f32"): {"onnx": as_it_is, "fused by its transformer optimizer": fused},
    ("openvino", "f32"): {"onnx": as_it_is},
    ("onnxruntime", "int8"): {"static": ort_static, "dynamic": ort_dynamic, "fused, dynamic": ort_fused_dynamic},
    ("openvino", "int8"): {"performance": lambda f: nncf_form(f, "performance"), "mixed": lambda f: nncf_form(f, "mixed")},
}


class Tools:
    """The programs that are compared, built by run.sh."""

    def __init__(self, folder, options):
        self.nasc, self.worker, self.peak = (folder / n for n in ("nasc", "peers-worker", "peak"))
        self.options = options
        self.digest = digest(self.nasc, self.worker)
        self.compiler = compiler()


def quiet():
    """Tools that log every step: their warnings would bury the progress."""
    import logging

    os.environ.setdefault("TQDM_DISABLE", "1")
    logging.disable(logging.WARNING)
