"""Prunes an ONNX network with Torch-Pruning: the other side of bench/pruning.

The network becomes torch modules, one for each convolution, batch norm and
dense layer; Torch-Pruning shrinks them; their weights go back into the ONNX
file, so that everything after pruning (fine-tuning, int8, timing) is the same
for both sides.

  python torch_prune.py MODEL.onnx --macs 0.5 --importance l2 -o OUT.onnx
"""

import argparse
import gzip
import sys

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch_pruning as tp
from onnx import helper, numpy_helper


class Network(nn.Module):
    """An ONNX graph of a few ops, its layers as modules."""

    def __init__(self, model):
        super().__init__()
        self.nodes = list(model.graph.node)
        self.inputs = [i.name for i in model.graph.input]
        self.output = model.graph.output[0].name
        self.consts = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self.layers = nn.ModuleDict()
        for n in self.nodes:
            a = {x.name: helper.get_attribute_value(x) for x in n.attribute}
            key = n.output[0].replace(".", "_")
            c = [self.consts.get(i) for i in n.input]
            if n.op_type == "Conv":
                w = c[1]
                g, pads = a.get("group", 1), a.get("pads", [0, 0, 0, 0])
                m = nn.Conv2d(w.shape[1] * g, w.shape[0], w.shape[2:], a.get("strides", [1, 1]), 0, a.get("dilations", [1, 1]), g, len(n.input) > 2)
                m.pads = [pads[1], pads[3], pads[0], pads[2]]
                if pads[0] == pads[2] and pads[1] == pads[3]:
                    m.padding, m.pads = (pads[0], pads[1]), None
                m.weight.data = torch.from_numpy(w.copy())
                if len(n.input) > 2:
                    m.bias.data = torch.from_numpy(c[2].copy())
            elif n.op_type == "BatchNormalization":
                m = nn.BatchNorm2d(len(c[1]), a.get("epsilon", 1e-5))
                m.weight.data, m.bias.data = torch.from_numpy(c[1].copy()), torch.from_numpy(c[2].copy())
                m.running_mean, m.running_var = torch.from_numpy(c[3].copy()), torch.from_numpy(c[4].copy())
            elif n.op_type == "Gemm":
                assert a.get("transB", 0) == 1
                m = nn.Linear(c[1].shape[1], c[1].shape[0])
                m.weight.data, m.bias.data = torch.from_numpy(c[1].copy()), torch.from_numpy(c[2].copy())
            else:
                continue
            self.layers[key] = m

    def forward(self, x):
        v = {self.inputs[0]: x}
        for n in self.nodes:
            key = n.output[0].replace(".", "_")
            i = [v.get(k) for k in n.input]
            if n.op_type == "Conv":
                m = self.layers[key]
                y = m(F.pad(i[0], m.pads) if m.pads else i[0])
            elif key in self.layers:
                y = self.layers[key](i[0])
            elif n.op_type == "Relu":
                y = F.relu(i[0])
            elif n.op_type == "Clip":
                y = F.hardtanh(i[0], self.consts[n.input[1]].item(), self.consts[n.input[2]].item())
            elif n.op_type == "Add":
                y = i[0] + i[1]
            elif n.op_type == "GlobalAveragePool":
                y = F.adaptive_avg_pool2d(i[0], 1)
            elif n.op_type == "Flatten":
                y = torch.flatten(i[0], 1)
            elif n.op_type == "Slice":
                y = i[0][:, :, ::2, ::2]
                assert list(self.consts[n.input[4]]) == [2, 2], self.consts[n.input[4]]
            elif n.op_type == "Pad":
                p = self.consts[n.input[1]]
                y = F.pad(i[0], (0, 0, 0, 0, int(p[1]), int(p[5])))
            else:
                sys.exit(f"torch_prune: {n.op_type} is not known here")
            v[n.output[0]] = y
        return v[self.output]

    def write(self, model):
        """The weights back into the ONNX graph."""
        new = {}
        for n in self.nodes:
            m = self.layers[n.output[0].replace(".", "_")] if n.output[0].replace(".", "_") in self.layers else None
            if m is None:
                continue
            t = lambda x: x.detach().numpy()
            if isinstance(m, nn.Conv2d):
                new[n.input[1]] = t(m.weight)
                if m.bias is not None:
                    new[n.input[2]] = t(m.bias)
                for a in n.attribute:
                    if a.name == "group":
                        a.i = m.groups
            elif isinstance(m, nn.BatchNorm2d):
                for k, x in zip(n.input[1:], (m.weight, m.bias, m.running_mean, m.running_var)):
                    new[k] = t(x)
            else:
                new[n.input[1]], new[n.input[2]] = t(m.weight), t(m.bias)
        for i in model.graph.initializer:
            if i.name in new:
                i.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new[i.name]), i.name))
        del model.graph.value_info[:]


def macs(net, x):
    """Multiplications of convolutions and dense layers."""
    total = 0

    def count(m, _, y):
        nonlocal total
        if isinstance(m, nn.Conv2d):
            total += y[0].numel() * m.weight[0].numel()
        else:
            total += m.weight.numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        net(x)
    for h in hooks:
        h.remove()
    return total


MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def cifar(path, n, seed):
    b = np.frombuffer(gzip.open(path).read(), np.uint8).reshape(-1, 3073)
    b = b[np.sort(np.random.default_rng(seed).permutation(len(b))[:n])]
    x = (b[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255 - MEAN[:, None, None]) / STD[:, None, None]
    return torch.from_numpy(x), torch.from_numpy(b[:, 0].astype(np.int64))


def pictures(tsv):
    from PIL import Image

    xs = []
    for line in open(tsv):
        name = line.split("\t")[0]
        if not name.endswith((".jpg", ".png")):
            continue
        p = Image.open(name).convert("RGB")
        w, h = p.size
        p = p.crop(((w - 224) // 2, (h - 224) // 2, (w - 224) // 2 + 224, (h - 224) // 2 + 224))
        xs.append(((np.asarray(p, np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(xs)), None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model")
    ap.add_argument("--macs", type=float, required=True, help="share of the MACs to come down to")
    ap.add_argument("--importance", default="l2", help="l2, taylor or hessian")
    ap.add_argument("--data", help="cifar:FILE.bin.gz or pictures:LIST.tsv, for taylor and hessian")
    ap.add_argument("--samples", type=int, default=200)
    ap.add_argument("--inner", action="store_true", help="leave the channels of residual sums as they are")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("-o", required=True)
    o = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(o.seed)
    model = onnx.load(o.model)
    net = Network(model).eval()
    shape = [1] + [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    x = torch.zeros(shape)
    whole = macs(net, x)
    ignored = [m for m in net.layers.values() if isinstance(m, nn.Linear)]
    if o.inner:
        read = {}
        for n in net.nodes:
            for i in n.input:
                read.setdefault(i, []).append(n)
        for n in net.nodes:
            if n.op_type != "Conv":
                continue
            # conv, batch norm, then no activation, or an output that is read twice: a residual sum.
            bn = read[n.output[0]][0]
            after = read[bn.output[0]]
            if after[0].op_type == "Add" or len(read.get(after[0].output[0], [])) > 1:
                ignored.append(net.layers[n.output[0].replace(".", "_")])
    imp = {
        "l2": lambda: tp.importance.GroupMagnitudeImportance(p=2),
        "taylor": lambda: tp.importance.GroupTaylorImportance(),
        "hessian": lambda: tp.importance.GroupHessianImportance(),
    }[o.importance]()
    steps = 400
    pruner = tp.pruner.BasePruner(net, x, importance=imp, global_pruning=True, pruning_ratio=0.9, max_pruning_ratio=0.9, iterative_steps=steps, ignored_layers=ignored)
    if o.importance != "l2":
        kind, path = o.data.split(":", 1)
        xs, ys = cifar(path, o.samples, o.seed) if kind == "cifar" else pictures(path)
        if o.importance == "hessian":
            imp.zero_grad()
            net.zero_grad()
            for i in range(len(xs)):
                y = net(xs[i : i + 1])
                t = ys[i : i + 1] if ys is not None else y.argmax(1)
                net.zero_grad()
                F.cross_entropy(y, t).backward()
                imp.accumulate_grad(net)
        else:
            for i in range(0, len(xs), 20):
                y = net(xs[i : i + 20])
                t = ys[i : i + 20] if ys is not None else y.argmax(1)
                F.cross_entropy(y, t, reduction="sum").div(len(xs)).backward()
    for k in range(steps):
        pruner.step()
        m = macs(net, x)
        if m <= o.macs * whole:
            break
    else:
        sys.exit(f"torch_prune: {m} of {whole} MACs are left")
    net.write(model)
    onnx.checker.check_model(model)
    onnx.save(model, o.o)
    print(f"{o.o}: {m} of {whole} MACs, {m / whole:.3f}, {k + 1} steps")


if __name__ == "__main__":
    main()
