"""Times one engine on one model in this process and prints a JSON line.

usage: worker.py ENGINE MODEL THREADS RUNS INPUTS.npz
"""
import json
import sys
import time

import numpy as np


def onnxruntime_session(model, threads):
    import onnxruntime as ort

    o = ort.SessionOptions()
    o.intra_op_num_threads = threads
    o.inter_op_num_threads = 1
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
    return lambda feeds: s.run(None, feeds)


def openvino_session(model, threads):
    import openvino as ov

    core = ov.Core()
    m = core.read_model(model)
    shapes = {k: v.shape for k, v in INPUTS.items()}
    m.reshape({i: shapes[i.any_name] for i in m.inputs})
    c = core.compile_model(m, "CPU", {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # its default is bf16 on CPUs that have it
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    })
    r = c.create_infer_request()

    def run(feeds):
        out = r.infer(feeds, share_inputs=True, share_outputs=True)
        return [out[o] for o in c.outputs]

    return run


engine, model, threads, runs, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
INPUTS = dict(np.load(path))
run = {"onnxruntime": onnxruntime_session, "openvino": openvino_session}[engine](model, threads)
end = time.perf_counter() + 1.0
n = 0
while n < 5 or time.perf_counter() < end:  # warm for a second
    run(INPUTS)
    n += 1
times = []
stop = time.perf_counter() + 20
while len(times) < runs or (len(times) < 5 * runs and sum(times) < 0.5):
    t = time.perf_counter()
    run(INPUTS)
    times.append(time.perf_counter() - t)
    if time.perf_counter() > stop and len(times) >= 10:
        break
t = np.sort(np.array(times)) * 1e3
print(json.dumps({"median_ms": float(np.median(t)), "p10_ms": float(t[len(t) // 10]), "p90_ms": float(t[len(t) * 9 // 10]), "runs": len(t)}))
