"""The networks of the comparison, and their inputs: the same for every engine."""
import os
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("NASC_SHARED", ROOT.parent / "shared"))
CACHE = ROOT / ".cache"
HIDDEN = os.environ.get("NASC_BENCH_HIDDEN", "")  # of the processor, by bench/noamx
WORK = CACHE / ("bench-no-" + HIDDEN if HIDDEN else "bench")


class Network:
    """source: a .toml of the zoo or an .onnx; shape: the sample's, where the
    file leaves it open; gmacs: for the estimate of time only."""

    def __init__(self, source, gmacs, shape=None, tokens=None, heads=None, width=None, vit=False, ink=None):
        self.ink = ink  # values of paper and ink, of networks that read text
        self.source, self.gmacs, self.shape, self.tokens = Path(source), gmacs, shape, tokens
        self.heads, self.width, self.vit = heads, width, vit

    @property
    def transformer(self):
        return self.heads is not None


MINILM = dict(source=CACHE / "models/minilm.onnx", heads=12, width=384)

NETWORKS = {
    "resnet18": Network("zoo/resnet18.toml", 1.81),
    "resnet50": Network("zoo/resnet50.toml", 4.09),
    "mobilenetv2": Network("zoo/mobilenetv2.toml", 0.30),
    "mobilenetv3-small": Network("zoo/mobilenetv3-small.toml", 0.057),
    "efficientnet-lite0": Network(SHARED / "models/efficientnet_lite0.onnx", 0.39),
    "vit-tiny": Network("zoo/vit-tiny.toml", 1.26, heads=3, width=192, vit=True),
    "vit-small": Network("zoo/vit-small.toml", 4.6, heads=6, width=384, vit=True),
    "minilm-16": Network(gmacs=0.17, tokens=16, **MINILM),
    "minilm-128": Network(gmacs=1.43, tokens=128, **MINILM),
    "minilm-256": Network(gmacs=3.0, tokens=256, **MINILM),
    "ocr-det": Network(CACHE / "models/ocr_det.onnx", 2.0, shape=(3, 480, 480), ink=(2.4, -2.0)),
    "ocr-rec": Network(CACHE / "models/ocr_rec.onnx", 1.0, shape=(3, 48, 320), ink=(1.0, -1.0)),
    "opennsfw": Network(CACHE / "models/opennsfw.onnx", 1.1),
    "resnet20": Network(SHARED / "models/cifar_resnet20.onnx", 0.041),
    # Not in the default list.
    "mixer-small": Network("zoo/mixer-small.toml", 3.78),
    "densenet-small": Network("zoo/densenet-small.toml", 0.29),
}
DEFAULT = [n for n in NETWORKS if n not in ("mixer-small", "densenet-small")]
# What is compared. f32-winograd: nasc's files of compile --winograd --tune beside
# the peers' of f32, who have no such choice to make.
DTYPES = ("int8", "f32", "f32-winograd")


def peers(dtype):
    """What the peers' files of a comparison are called."""
    return dtype.removesuffix("-winograd")


CALIBRATION = 16  # samples, for every engine's int8


def fix_shapes(src, dst, net):
    """Gives every axis but the batch its extent, and the batch the name N."""
    import onnx

    m = onnx.load(src)
    consts = {i.name for i in m.graph.initializer}
    for i in m.graph.input:
        if i.name in consts:
            continue
        dims = i.type.tensor_type.shape.dim
        if net.shape and len(dims) == 4:
            for d, n in zip(list(dims)[1:], net.shape):
                d.dim_value = n
        for k, d in enumerate(dims):
            if k == 0:
                d.dim_param = "N"
            elif not d.dim_value:
                d.dim_value = net.tokens
    for o in m.graph.output:  # what follows from the inputs is found anew
        for d in o.type.tensor_type.shape.dim:
            if not d.HasField("dim_value"):
                d.Clear()
        if o.type.tensor_type.shape.dim:
            o.type.tensor_type.shape.dim[0].dim_param = "N"
    del m.graph.value_info[:]
    onnx.save(m, dst)


def inputs_of(path):
    """Names, numpy types and shapes without the batch of an ONNX file's inputs."""
    import onnx

    m = onnx.load(path, load_external_data=False)
    consts = {i.name for i in m.graph.initializer}
    out = []
    for i in m.graph.input:
        if i.name not in consts:
            t = i.type.tensor_type
            out.append((i.name, onnx.helper.tensor_dtype_to_np_dtype(t.elem_type), tuple(d.dim_value for d in t.shape.dim)[1:]))
    return out


def picture(rng, shape):
    """A field of soft shapes with some grain: mean 0, deviation 1, as
    normalized pictures have it."""
    channels_first = shape[0] in (1, 3)
    c, h, w = shape if channels_first else (shape[2], shape[0], shape[1])
    coarse = rng.standard_normal((c, 9, 9))

    def stretch(a, n, axis):
        at = np.linspace(0, a.shape[axis] - 1.001, n)
        lo, part = at.astype(int), at - at.astype(int)
        view = [1] * a.ndim
        view[axis] = n
        return np.take(a, lo, axis) * (1 - part.reshape(view)) + np.take(a, lo + 1, axis) * part.reshape(view)

    x = stretch(stretch(coarse, h, 1), w, 2) + 0.3 * rng.standard_normal((c, h, w))
    x = (x - x.mean()) / x.std()
    return (x if channels_first else x.transpose(1, 2, 0)).astype(np.float32)


# Digits of 5×7 dots, a row of bits a line.
DIGITS = ["0E11131519110E", "040C040404040E", "0E11010204081F", "1F02040201110E", "02060A121F0202", "1F101E0101110E", "0608101E11110E", "1F010204080808", "0E11110E11110E", "0E11110F01020C"]


def page(rng, shape, ink):
    """Lines of digits in dark ink on light paper, with some grain."""
    _, h, w = shape
    x = np.full((h, w), ink[0])
    top = 6
    while True:
        dot = 5 if h < 64 else int(rng.integers(2, 5))
        if top + 7 * dot > h:
            break
        left = int(rng.integers(4, 30))
        while left + 5 * dot < w - 4:
            if rng.random() < 0.85:
                rows = bytes.fromhex(DIGITS[rng.integers(len(DIGITS))])
                bits = np.array([[r >> (4 - c) & 1 for c in range(5)] for r in rows])
                patch = x[top:top + 7 * dot, left:left + 5 * dot]
                patch[np.kron(bits, np.ones((dot, dot))) > 0] = ink[1]
            left += 6 * dot
        top += 7 * dot + int(rng.integers(8, 30))
    x = x + 0.05 * rng.standard_normal((3, h, w))
    return x.astype(np.float32)


def feeds(path, batch, seed, net):
    """Inputs of an ONNX file whose shapes are fixed: {name: array}."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, dtype, shape in inputs_of(path):
        if "mask" in name:
            a = np.ones((batch, *shape))
        elif "type" in name:
            a = np.zeros((batch, *shape))
        elif np.issubdtype(dtype, np.integer):
            a = rng.integers(1000, 29000, (batch, *shape))
            a[:, 0], a[:, -1] = 101, 102  # as a tokenizer frames a sentence
        elif len(shape) == 3:
            a = np.stack([page(rng, shape, net.ink) if net.ink else picture(rng, shape) for _ in range(batch)])
        else:
            a = rng.standard_normal((batch, *shape))
        out[name] = a.astype(dtype)
    return out


def write_inputs(path, folder, batch, seed, net):
    folder.mkdir(parents=True, exist_ok=True)
    x = feeds(path, batch, seed, net)
    for i, a in enumerate(x.values()):
        np.save(folder / f"{i}.npy", a)
    (folder / "names.txt").write_text("\n".join(x) + "\n")
