"""The report of a comparison: tables, bars and what of them is met, charts."""
import html
import os
import platform

import numpy as np

from engines import ENGINES
from networks import DTYPES, HIDDEN

COSINE, SHARE = 0.97, 0.999
COLOURS = {"nasc": "#3b6ea5", "onnxruntime": "#c9a227", "openvino": "#9a6fb0"}
TITLES = {"nasc": "nasc", "onnxruntime": "onnxruntime", "openvino": "OpenVINO"}


def cpu():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def features():
    known = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "amx_bf16")
    for line in open("/proc/cpuinfo"):
        if line.startswith("flags"):
            seen = " ".join(w for w in known if w in line.split() and not (HIDDEN and w.startswith(HIDDEN)))
            return f"{seen} ({HIDDEN} is there and hidden from all engines by bench/noamx)" if HIDDEN else seen
    return "unknown features"


def geomean(v):
    return float(np.exp(np.mean(np.log(v))))


def figures(cell):
    """Medians and ratios of a cell: each from its rounds' medians."""
    t = {e: np.array(cell["ms"][e]) for e in ENGINES}
    best = np.minimum(t["onnxruntime"], t["openvino"])
    by = best / t["nasc"]
    f = dict(cell, median={e: float(np.median(v)) for e, v in t.items()}, ratio=float(np.median(by)), low=float(by.min()), high=float(by.max()),
             ort=float(np.median(t["onnxruntime"] / t["nasc"])), ov=float(np.median(t["openvino"] / t["nasc"])))
    if cell.get("peak"):
        f["of_peak"] = 2 * cell["macs"] * cell["batch"] / (f["median"]["nasc"] * 1e6) / float(np.median(cell["peak"]))
    return f


def gates(cells):
    """What the report must not hide: outputs that are not the network's."""
    out = []
    for c in cells:
        if c["cosine"] < COSINE:
            out.append(f"{c['name']} {c['dtype']}, batch {c['batch']}: cosine {c['cosine']:.4f} to onnxruntime's f32, wanted {COSINE}")
        if c["dtype"] == "int8" and c["int8_mac_share"] < SHARE:
            out.append(f"{c['name']}: int8 share of the products {c['int8_mac_share']:.4f}, wanted {SHARE}")
    return sorted(set(out))


def table(cells, dtype):
    rows = []
    for f in cells:
        if f["dtype"] != dtype:
            continue
        m = f["median"]
        row = [f["name"], f["threads"], f["batch"], f"{m['nasc']:.3f} ({min(f['ms']['nasc']):.3f}–{max(f['ms']['nasc']):.3f})", f"{m['onnxruntime']:.3f}", f"{m['openvino']:.3f}",
               f"{f['ort']:.2f}", f"{f['ov']:.2f}", f"**{f['ratio']:.2f}** ({f['low']:.2f}–{f['high']:.2f})", f"{f['cosine']:.4f}"]
        if dtype == "int8":
            row += [f"{f['int8_mac_share']:.4f}", f"{100 * f['of_peak']:.0f} %" if f.get("of_peak") else "—"]
        rows.append(row + [f["runs"]])
    head = ["network", "threads", "batch", "nasc ms", "onnxruntime ms", "OpenVINO ms", "÷ onnxruntime", "÷ OpenVINO", "÷ faster peer", "cosine"]
    if dtype == "int8":
        head += ["int8 share", "of the vector peak"]
    head.append("runs")
    return "\n".join("| " + " | ".join(map(str, r)) + " |" for r in [head, ["---"] * len(head), *rows])


def summary(cells):
    out = []
    for dtype in DTYPES:
        for batch in sorted({f["batch"] for f in cells}):
            for threads in sorted({f["threads"] for f in cells}):
                some = [f for f in cells if (f["dtype"], f["batch"], f["threads"]) == (dtype, batch, threads)]
                if some:
                    least = min(some, key=lambda f: f["ratio"])
                    slower = [f["name"] for f in some if f["ratio"] < 1]
                    out.append(f"{dtype}, batch {batch}, {threads} thread{'s' * (threads > 1)}: geometric mean over {len(some)} networks **{geomean([f['ratio'] for f in some]):.2f}** times as fast as the faster peer; "
                               f"the least {least['ratio']:.2f} ({least['name']}); slower on {len(slower)}{': ' + ', '.join(slower) if slower else ''}.")
    return out


def bars(cells, cold):
    """The bars that were set, and what was measured."""
    rows = []

    def add(what, bar, values, met):
        if values:
            rows.append(f"| {what} | {bar} | {', '.join(values)} | {'met' if met else '**not met**'} |")

    def where(dtype, threads, batch, names=None):
        return [f for f in cells if (f["dtype"], f["threads"], f["batch"]) == (dtype, threads, batch) and (names is None or f["name"].startswith(names))]

    for threads in (1, 2):
        t = f"{threads} thread{'s' * (threads > 1)}"
        r = [f["ratio"] for f in where("int8", threads, 1)]
        if r:
            add(f"int8, geometric mean, {t}", "≥ 1.25", [f"{geomean(r):.2f}"], geomean(r) >= 1.25)
            add(f"int8, each network, {t}", "≥ 1.00", [f"least {min(r):.2f}"], min(r) >= 1)
        for names, bar in ((("mobilenetv2", "efficientnet"), 1.4), (("vit", "minilm"), 1.5)):
            some = where("int8", threads, 1, names)
            add(f"int8, {' and '.join(names)}, {t}", f"≥ {bar:.2f}", [f"{f['name']} {f['ratio']:.2f}" for f in some], all(f["ratio"] >= bar for f in some))
        r = [f["ratio"] for f in where("f32", threads, 1)]
        if r:
            add(f"f32, geometric mean, {t}", "≥ 1.00", [f"{geomean(r):.2f}"], geomean(r) >= 1)
            add(f"f32, each network, {t}", "≥ 0.90", [f"least {min(r):.2f}"], min(r) >= 0.9)
    some = [f for f in where("int8", 1, 1, ("resnet18", "resnet50")) if f.get("of_peak")]
    add("int8 ResNets, one thread, share of the VPDPBUSD peak", "≥ 85 %", [f"{f['name']} {100 * f['of_peak']:.0f} %" for f in some], all(f["of_peak"] >= 0.85 for f in some))
    some = where("int8", 2, 16)
    add("int8, batch 16, 2 threads, each network", "≥ 1.00", [f"least {min((f['ratio'] for f in some), default=0):.2f}"] if some else [], all(f["ratio"] >= 1 for f in some))
    if cold:
        n, o = cold["nasc"], cold["onnxruntime"]
        add("cold start, MobileNetV2 int8", "≤ 30 ms", [f"{n['ms']:.1f} ms"], n["ms"] <= 30)
        add("resident memory, whole process, against onnxruntime's less its interpreter", "≤ half", [f"{n['resident']:.0f} MB of {o['net']:.0f} MB"], n["resident"] <= o["net"] / 2)
    return "| | bar | measured | |\n|---|---|---|---|\n" + "\n".join(rows)


def cold_table(cold):
    rows = []
    for e, c in cold.items():
        rows.append(f"| {TITLES[e]} | {c['ms']:.1f} ({c['least']:.1f}–{c['most']:.1f}) | {c['resident']:.0f} | {c['net']:.0f} |")
    starts = cold["nasc"]["starts"]
    return (f"MobileNetV2 int8, one thread, batch 1; from the start of the process to its first answer, medians of {starts} starts in turn (least–most), files in the system's cache. "
            "The peers run in Python, as worker.py does; nasc in a Go program of package runtime. The last column takes off what Python with numpy held before the engine was imported; nasc's is the whole process.\n\n"
            "| | first answer after ms | resident MB | MB less the interpreter |\n|---|---|---|---|\n" + "\n".join(rows))


def forms(infos):
    rows = []
    for name, i in infos.items():
        for key, title in (("onnxruntime-int8", "onnxruntime int8"), ("openvino-int8", "OpenVINO int8"), ("onnxruntime-f32", "onnxruntime f32")):
            tried = i.get(f"{key}-forms", {})
            failed = i.get(f"{key}-failed", {})
            if len(tried) + len(failed) > 1:
                rows.append(f"| {name} | {title} | {', '.join(f'{f} {ms:.2f} ms' + (' ✓' if f == i[key + '-form'] else '') for f, ms in tried.items())}{'; cannot be made: ' + ', '.join(failed) if failed else ''} |")
    return "| network | | forms tried, one thread, batch 1 |\n|---|---|---|\n" + "\n".join(rows)


def chart(cells, dtype):
    """At the left each engine's time, one thread and batch 1, against the
    slowest; at the right how many times as fast nasc is as the faster peer, in
    every setting."""
    names = list(dict.fromkeys(f["name"] for f in cells if f["dtype"] == dtype))
    settings = [(1, 1), (2, 1), (1, 16), (2, 16)]
    shades = {(1, 1): "#16324f", (2, 1): "#3b6ea5", (1, 16): "#7fb069", (2, 16): "#c0453b"}
    left, width, row, top, dots = 140, 330, 46, 64, 600
    height = top + row * len(names) + 30
    r = [f["ratio"] for f in cells if f["dtype"] == dtype]
    lo, hi = min(0.5, *r) if r else 0.5, max(2.0, *r) if r else 2.0
    x = lambda v: dots + 340 * np.log(v / lo) / np.log(hi / lo)
    s = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 {height}" width="980" font-family="system-ui,sans-serif" font-size="12">'
         f'<style>.v{{font-size:9px;fill:#444}}.h{{font-weight:600}}</style><rect width="980" height="{height}" fill="white"/>'
         f'<text x="{left}" y="20" class="h">{dtype}: ms of a run, one thread, batch 1</text><text x="{dots}" y="20" class="h">times as fast as the faster peer</text>']
    s += [f'<rect x="{left + 120 * i}" y="32" width="10" height="10" fill="{c}"/><text x="{left + 15 + 120 * i}" y="41">{TITLES[e]}</text>' for i, (e, c) in enumerate(COLOURS.items())]
    s += [f'<circle cx="{dots + 5 + 90 * i}" cy="37" r="4" fill="{shades[k]}"/><text x="{dots + 13 + 90 * i}" y="41" font-size="10">{k[0]} thread{"s" * (k[0] > 1)}, × {k[1]}</text>' for i, k in enumerate(settings)]
    for v in (0.5, 0.7, 1, 1.25, 1.5, 2, 3, 4, 6, 8):
        if lo <= v <= hi:
            s.append(f'<line x1="{x(v):.1f}" x2="{x(v):.1f}" y1="{top - 6}" y2="{height - 24}" stroke="{"#333" if v == 1 else "#e4e4e4"}"/><text x="{x(v):.1f}" y="{height - 10}" text-anchor="middle" class="v">{v:g}</text>')
    for i, name in enumerate(names):
        y = top + row * i
        if i % 2 == 0:
            s.append(f'<rect x="0" y="{y - 4}" width="980" height="{row}" fill="#000" fill-opacity=".03"/>')
        s.append(f'<text x="{left - 10}" y="{y + 23}" text-anchor="end">{html.escape(name)}</text>')
        for f in cells:
            if (f["name"], f["dtype"]) != (name, dtype):
                continue
            k = (f["threads"], f["batch"])
            if k in shades:
                s.append(f'<line x1="{x(f["low"]):.1f}" x2="{x(f["high"]):.1f}" y1="{y + 5 + 9 * settings.index(k)}" y2="{y + 5 + 9 * settings.index(k)}" stroke="{shades[k]}" stroke-opacity=".4" stroke-width="2"/>'
                         f'<circle cx="{x(f["ratio"]):.1f}" cy="{y + 5 + 9 * settings.index(k)}" r="4" fill="{shades[k]}"/>')
            if k == (1, 1):
                worst = max(f["median"].values())
                for j, (e, ms) in enumerate(f["median"].items()):
                    w = width * ms / worst
                    s.append(f'<rect x="{left}" y="{y + 12 * j}" width="{w:.1f}" height="11" fill="{COLOURS[e]}"/><text x="{left + w + 4:.1f}" y="{y + 12 * j + 9}" class="v">{ms:.2f}</text>')
    return "\n".join(s) + "\n</svg>\n"


def versions():
    import nncf
    import onnxruntime
    import openvino

    return {"onnxruntime": onnxruntime.__version__, "OpenVINO": openvino.__version__.split("-")[0], "nncf": nncf.__version__}


def write(out, date, cells, missing, cold, infos, rounds, peaks):
    """Writes OUT, and a chart beside it for each dtype."""
    cells = [figures(c) for c in cells]
    dtypes = [d for d in DTYPES if any(f["dtype"] == d for f in cells)]
    v = versions()
    failed = gates(cells)
    charts = {d: out.with_name(out.stem + f"-{d}.svg") for d in dtypes}
    parts = [f"# nasc and its peers, {date}",
             f"`make bench-peers` on {cpu()} ({os.cpu_count()} cores; {features()}), {platform.system()} {platform.release()}; " + ", ".join(f"{k} {n}" for k, n in v.items()) + ".",
             f"{rounds} rounds in which the engines take turns; each engine is a process of its own that holds one model, warmed before it is timed, with all other engines stopped. With one thread the engines of a round run on the same CPU, each CPU in turn. "
             "A round gives the median of its runs; ms are medians over rounds (in brackets nasc's least and greatest round), a ratio is the median of the rounds' ratios (in brackets its least and greatest; above 1 nasc is faster), "
             "\"faster peer\" is the better of the two in each round. The last column counts the runs of an engine: at least 50, fewer where one takes longer than 200 ms. "
             "cosine: nasc's output against onnxruntime's f32 on the same input. int8 share: of the network's products. of the vector peak: the network's products against VPDPBUSD out of registers, measured between the runs (above 100 % with matrix tiles).",
             "Inputs and weights: the networks of the zoo have seeded random weights, the others their own; pictures are seeded soft shapes, for the OCR pair lines of printed digits, token ids random, 16 calibration samples, the same for all engines. "
             "OCR detector 480×480, recogniser 48×320, MiniLM (all-MiniLM-L6-v2) at the tokens in its name. Settings: threads as given; onnxruntime with all its optimizations and static shapes; "
             "OpenVINO with its latency hint and one stream, float32 kept where float32 is compared (its default there is bf16), its own precision for int8 networks. "
             "A peer's int8 file is the fastest that its own tools make (below)."
             + (" f32-winograd: nasc's files of `compile --winograd --tune` beside the peers' of f32." if "f32-winograd" in dtypes else "")]
    if peaks:
        parts.append("Peaks of one core: " + ", ".join(f"{p['name']} {p['rate']:.0f} {p['unit']}" for p in peaks) + ".")
    if failed:
        parts.append("**Gates that failed:**\n\n" + "\n".join(f"- {x}" for x in failed))
    if missing:
        parts.append("**Not measured:**\n\n" + "\n".join(f"- {x}" for x in missing))
    parts.append("## The bars\n\n" + bars(cells, cold))
    for d in dtypes:
        parts.append(f"## {d}\n\n![{d}: nasc, onnxruntime, OpenVINO]({charts[d].name})\n\n" + table(cells, d))
    parts.append("## In short\n\n" + "\n".join(f"- {x}" for x in summary(cells)))
    if cold:
        parts.append("## Cold start and memory\n\n" + cold_table(cold))
    parts.append("## The peers' forms\n\nThe fastest is the one that was compared.\n\n" + forms(infos))
    out.parent.mkdir(parents=True, exist_ok=True)
    files = {out: "\n\n".join(parts) + "\n"} | {charts[d]: chart(cells, d) for d in dtypes}
    for path, text in files.items():
        tmp = path.with_name(path.name + ".tmp")
        tmp.write_text(text)
        tmp.rename(path)
    return failed
