"""nasc, onnxruntime and OpenVINO on the same networks, taking turns.

Each engine holds a network in a process of its own, warmed, and all others are
stopped while it is timed. With one thread all engines of a round run on the same
CPU, each CPU in turn: on a shared host one may be slower than another for minutes.
A ratio is the median over rounds of (faster peer ms
/ nasc ms); above 1 nasc is faster. int8 files of the peers come from their own
tools (onnxruntime.quantization, nncf) on the calibration data that nasc gets,
and are the fastest that these make. nasc's output is compared in the same run
with onnxruntime's f32 output.

Finished cells are kept in .cache/bench: a run that was ended goes on where it
was, as long as nasc, the rounds and this machine are the same (--fresh: from the
beginning). Exit 1: an output was not the network's, or a cell was not measured.
"""
import argparse
import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import cold
import report
from engines import ENGINES, Worker, options
from files import Files, Tools, quiet
from networks import DEFAULT, DTYPES, NETWORKS, ROOT, WORK, peers

SLOW = 200.0  # ms of a run above which fewer are timed
# Turns are short and rounds many: a shared host changes its speed within seconds,
# and the engines of a round should meet the same.
TARGET = 0.1  # seconds of runs in a round
WARM = 0.06  # seconds before each round's runs


def runs_of(ms, rounds):
    """Least runs of a round: 50 in all, 3 a round where a run is slow."""
    return 3 if ms > SLOW else -(-50 // rounds)


def seconds(ms, rounds):
    """What one engine takes of a cell, from a guess of its ms."""
    return rounds * (max(TARGET, runs_of(ms, rounds) * ms / 1e3) + max(WARM, ms / 1e3) + 0.01)


def guess(net, dtype, threads, batch):
    """ms of a run, for the estimate: half the rate of a core with AVX-512."""
    return 0.1 + batch * 2 * net.gmacs / (0.5 * (1000 if dtype == "int8" else 240) * threads) * 1e3


def measure(tools, files, dtype, threads, batch, rounds):
    """One cell: the medians of each engine's rounds, and whether nasc is right."""
    workers = {}
    cell = {"name": files.name, "dtype": dtype, "threads": threads, "batch": batch, "macs": files.info["macs"], "int8_mac_share": files.info.get("int8_mac_share"),
            "ms": {e: [] for e in ENGINES}, "peak": [], "form": {e: files.info.get(f"{e}-{peers(dtype)}-form") for e in ENGINES}}
    try:
        for e in ENGINES:  # they load side by side: loading is not timed
            workers[e] = Worker(tools.worker, e, files.path(e, dtype), threads, files.inputs(batch), options(e, peers(dtype), batch, files.info["free"]))
        for w in workers.values():
            w.ready()
        got = files.dir / "got.npy"
        workers["nasc"].ask("out", got)
        a, b = np.load(files.want(batch)).ravel().astype(np.float64), np.load(got).ravel().astype(np.float64)
        cell["cosine"] = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-30))
        least, counts = {}, []
        for e, w in workers.items():
            least[e] = runs_of(min(w.ask("run", 0, 0, 2, 2)), rounds)
        cpus = sorted(os.sched_getaffinity(0))
        for r in range(rounds):
            on = {cpus[r % len(cpus)]} if threads == 1 else set(cpus)
            for i in range(len(ENGINES)):  # each engine is the first as often
                e = ENGINES[(i + r) % len(ENGINES)]
                if threads == 1:
                    workers[e].pin(*on)
                ms = workers[e].ask("run", WARM, TARGET, least[e], max(least[e], 1000))
                cell["ms"][e].append(float(np.median(ms)))
                counts.append((e, len(ms)))
            if dtype == "int8":
                p = vector_peak(tools, threads, on)
                if p:
                    cell["peak"].append(p)
        cell["runs"] = min(sum(n for e, n in counts if e == engine) for engine in ENGINES)
    finally:
        for w in workers.values():
            w.close()
    return cell


def vector_peak(tools, threads, cpus):
    """GOPS of VPDPBUSD on so many cores of these; none where the machine has no such."""
    p = subprocess.run([tools.peak, "-level", "vnni", "-threads", str(threads), "-json", "-time", "20ms"], capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    return json.loads(p.stdout)["rate"] if p.returncode == 0 else None


class Kept:
    """Finished cells, a line each; a torn last line is dropped."""

    def __init__(self, path, key, fresh):
        self.path, self.key, self.cells = path, key, {}
        if fresh:
            path.unlink(missing_ok=True)
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                c = json.loads(line)
            except ValueError:
                continue
            if c["key"] == key:
                self.cells[c["cell"]] = c["value"]

    def get(self, *cell):
        return self.cells.get(" ".join(map(str, cell)))

    def add(self, value, *cell):
        name = " ".join(map(str, cell))
        self.cells[name] = value
        with open(self.path, "a") as f:
            f.write(json.dumps({"key": self.key, "cell": name, "value": value}) + "\n")
        return value


def clock(s):
    return f"{int(s) // 60}:{int(s) % 60:02d} min"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tools", default=".cache/tools", help="folder of nasc, peers-worker and peak")
    p.add_argument("--models", default=",".join(DEFAULT), help="networks, or all; there are " + ", ".join(NETWORKS))
    p.add_argument("--dtypes", default="int8,f32", help="of " + ", ".join(DTYPES))
    p.add_argument("--threads", default="1,2")
    p.add_argument("--batch", default="1,16")
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--starts", type=int, default=25, help="starts of the cold-start measurement; 0 leaves it out")
    p.add_argument("--prepare", action="store_true", help="make the files and stop")
    p.add_argument("--choose", action="store_true", help="time the peers' forms again: where the files were made while the machine was busy")
    p.add_argument("--fresh", action="store_true", help="forget the finished cells")
    p.add_argument("--report", default=f"bench/reports/peers-{datetime.date.today()}.md")
    a = p.parse_args()
    a.models = list(NETWORKS) if a.models == "all" else a.models.split(",")
    a.dtypes, a.threads, a.batch = a.dtypes.split(","), [int(t) for t in a.threads.split(",")], [int(b) for b in a.batch.split(",")]
    unknown = [m for m in a.models if m not in NETWORKS] + [d for d in a.dtypes if d not in DTYPES]
    if unknown or a.rounds < 1 or min(a.threads + a.batch) < 1:
        p.error(f"unknown or out of range: {unknown or [a.rounds, a.threads, a.batch]}")
    return a


def main():
    args = arguments()
    quiet()
    tools = Tools((ROOT / args.tools).resolve(), options)
    key = hashlib.sha256(json.dumps([tools.digest, args.rounds, report.cpu(), platform.release(), report.versions(), TARGET, WARM, "pinned"]).encode()).hexdigest()[:16]
    WORK.mkdir(parents=True, exist_ok=True)
    os.chdir(WORK)  # onnxruntime's shape inference leaves files where it runs
    kept = Kept(WORK / "cells.jsonl", key, args.fresh)
    cells = [(n, d, t, b) for n in args.models for d in args.dtypes for b in args.batch for t in args.threads]
    todo = [c for c in cells if not kept.get(*c)]
    need = sum(len(ENGINES) * seconds(guess(NETWORKS[n], d, t, b), args.rounds) + 4 for n, d, t, b in todo) + (3 * args.starts if args.starts else 0)
    print(f"{len(cells)} cells, {len(cells) - len(todo)} of them finished before; about {clock(need)} for the rest, and what making files takes the first time", file=sys.stderr, flush=True)
    begin, missing, nets = time.time(), [], {}
    for name in args.models:
        try:
            nets[name] = f = Files(tools, name, lambda what: print(f"[{clock(time.time() - begin)}] {name}: making {what}", file=sys.stderr, flush=True))
            f.prepare(args.dtypes, args.batch, args.choose)
        except Exception as e:  # one network that an engine cannot take must not lose the others' rows
            nets.pop(name, None)
            missing.append(f"{name}: {str(e).strip().splitlines()[-1][:300]}")
            print(missing[-1], file=sys.stderr, flush=True)
    if args.prepare:
        sys.exit(1 if missing else 0)
    begin = time.time()
    for c in cells:
        name, dtype, threads, batch = c
        if name not in nets or kept.get(*c):
            continue
        try:
            f = report.figures(kept.add(measure(tools, nets[name], dtype, threads, batch, args.rounds), *c))
        except Exception as e:
            missing.append(f"{name} {dtype}, {threads} thread(s), batch {batch}: {str(e).strip().splitlines()[-1][:300] if str(e).strip() else type(e).__name__}")
            print(missing[-1], file=sys.stderr, flush=True)
            continue
        m = f["median"]
        peak = f", {100 * f['of_peak']:.0f} % of peak" if f.get("of_peak") else ""
        print(f"[{clock(time.time() - begin)}] {name} {dtype}, {threads} thread(s), batch {batch}: nasc {m['nasc']:.3f}, onnxruntime {m['onnxruntime']:.3f}, OpenVINO {m['openvino']:.3f} ms; "
              f"{f['ratio']:.2f} times the faster ({f['low']:.2f}–{f['high']:.2f}); cosine {f['cosine']:.4f}{peak}", flush=True)
    start = None
    if args.starts:
        start = kept.get("cold", args.starts)
        try:
            if not start:
                f = nets.get(cold.NETWORK) or Files(tools, cold.NETWORK, lambda what: None)
                f.prepare(["int8"], [1])
                start = kept.add(cold.measure(tools, f, args.starts), "cold", args.starts)
        except Exception as e:
            missing.append(f"cold start: {e}")
    finished = [kept.get(*c) for c in cells if kept.get(*c)]
    if not finished:
        sys.exit("no cell was measured")
    p = subprocess.run([tools.peak, "-json"], capture_output=True, text=True)
    peaks = [json.loads(line) for line in p.stdout.splitlines()]
    out = ROOT / args.report
    failed = report.write(out, datetime.date.today(), finished, missing, start, {n: f.info for n, f in nets.items()}, args.rounds, peaks)
    print(f"wrote {out} after {clock(time.time() - begin)}", file=sys.stderr)
    for line in failed + missing:
        print(line, file=sys.stderr)
    sys.exit(1 if failed or missing else 0)


main()
