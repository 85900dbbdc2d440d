"""Cold start and resident memory: MobileNetV2 int8, one thread, batch 1."""
import time

import numpy as np

from engines import Worker, options

NETWORK = "mobilenetv2"


def measure(tools, files, starts):
    """Starts each engine's process in turn; the time is from its start to its
    first answer. What the system has read from disk stays in its cache."""
    engines = ("nasc", "onnxruntime", "openvino")
    ms, held, more = ({e: [] for e in engines} for _ in range(3))
    for i in range(starts + 1):
        for e in engines:
            start = time.perf_counter()
            with Worker(tools.worker, e, files.path(e, "int8"), 1, files.inputs(1), options(e, "int8", 1, files.info["free"])) as w:
                w.ready()
                took = (time.perf_counter() - start) * 1e3
                if i == 0:  # the first start reads the disk
                    continue
                ms[e].append(took)
                if i > 3:
                    continue
                w.ask("run", 0, 0.2, 20, 100)
                m = w.ask("memory")
                held[e].append(m["resident"] / 1e6)
                more[e].append((m["resident"] - m.get("baseline", 0)) / 1e6)
    return {
        e: {
            "ms": float(np.median(ms[e])), "least": float(min(ms[e])), "most": float(max(ms[e])), "starts": len(ms[e]),
            "resident": float(np.median(held[e])), "net": float(np.median(more[e])),
        }
        for e in engines
    }
