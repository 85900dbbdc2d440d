"""Runs one engine on one model in this process; worker/main.go says how it is asked.

usage: worker.py ENGINE MODEL THREADS INPUTS [JSON]
JSON: {"free": {dimension name: extent}, "hint": OpenVINO's precision hint}
"""
import json
import sys
import time
from pathlib import Path

import numpy as np


def memory():
    out = {}
    for line in open("/proc/self/status"):
        for key, name in (("VmRSS:", "resident"), ("VmHWM:", "peak"), ("RssAnon:", "anonymous")):
            if line.startswith(key):
                out[name] = int(line.split()[1]) << 10
    return out


BASELINE = memory()  # the interpreter with numpy


def onnxruntime_session(model, threads, feeds, options):
    import onnxruntime as ort

    o = ort.SessionOptions()
    o.intra_op_num_threads = threads
    o.inter_op_num_threads = 1
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    for name, extent in options.get("free", {}).items():  # static shapes, as the others have
        o.add_free_dimension_override_by_name(name, extent)
    s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
    return lambda: s.run(None, feeds)


def openvino_session(model, threads, feeds, options):
    import openvino as ov

    core = ov.Core()
    m = core.read_model(model)
    m.reshape({i: feeds[i.any_name].shape for i in m.inputs})
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if "hint" in options:
        settings["INFERENCE_PRECISION_HINT"] = options["hint"]
    c = core.compile_model(m, "CPU", settings)
    r = c.create_infer_request()

    def run():
        out = r.infer(feeds, share_inputs=True, share_outputs=True)
        return [out[o] for o in c.outputs]

    return run


def times(run, warm, target, least, most):
    start = time.perf_counter()
    while True:
        run()
        if time.perf_counter() - start > warm:
            break
    ms = []
    begin = time.perf_counter()
    while len(ms) < least or (len(ms) < most and time.perf_counter() - begin < target):
        t = time.perf_counter()
        run()
        ms.append((time.perf_counter() - t) * 1e3)
    return ms


def main():
    engine, model, threads, inputs = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    options = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
    names = (inputs / "names.txt").read_text().split("\n")
    feeds = {n: np.load(inputs / f"{i}.npy") for i, n in enumerate(names) if n}
    run = {"onnxruntime": onnxruntime_session, "openvino": openvino_session}[engine](model, threads, feeds, options)
    run()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "run":
            print(json.dumps(times(run, float(words[1]), float(words[2]), int(words[3]), int(words[4]))), flush=True)
        elif words[0] == "out":
            np.save(words[1], np.asarray(run()[0]))
            print(json.dumps({"done": True}), flush=True)
        elif words[0] == "memory":
            print(json.dumps(memory() | {"baseline": BASELINE["resident"]}), flush=True)
        else:
            sys.exit(f"no command {line!r}")


main()
