"""Engines as processes: one is running, all others are stopped."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENGINES = ("nasc", "onnxruntime", "openvino")


class EngineError(RuntimeError):
    pass


class Worker:
    """A process that holds one model; stopped (SIGSTOP) except while it answers,
    so that no thread of it spins while another engine is timed."""

    def __init__(self, nasc_worker, engine, model, threads, inputs, options=None):
        cmd = [nasc_worker, model, threads, inputs] if engine == "nasc" else [sys.executable, HERE / "worker.py", engine, model, threads, inputs, json.dumps(options or {})]
        self.name = engine
        self.p = subprocess.Popen([str(c) for c in cmd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def ready(self):
        """Waits for the first answer and stops the process."""
        self._line()
        os.kill(self.p.pid, signal.SIGSTOP)
        return self

    def _line(self):
        line = self.p.stdout.readline()
        while line and not line.startswith(("{", "[")):  # a library's own chatter
            line = self.p.stdout.readline()
        if not line:
            err = self.p.stderr.read()
            self.p.wait()
            raise EngineError(f"{self.name}: {(err.strip().splitlines() or ['no answer'])[-1][:200]}")
        return json.loads(line)

    def ask(self, *words):
        os.kill(self.p.pid, signal.SIGCONT)
        self.p.stdin.write(" ".join(map(str, words)) + "\n")
        self.p.stdin.flush()
        answer = self._line()
        os.kill(self.p.pid, signal.SIGSTOP)
        return answer

    def pin(self, cpu):
        """Keeps all of its threads on one CPU."""
        for t in os.listdir(f"/proc/{self.p.pid}/task"):
            try:
                os.sched_setaffinity(int(t), {cpu})
            except ProcessLookupError:  # a thread that has ended since
                pass

    def close(self):
        if self.p.poll() is None:
            self.p.kill()  # ends a stopped process too
        self.p.wait()
        for f in (self.p.stdin, self.p.stdout, self.p.stderr):
            f.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def options(engine, dtype, batch, free):
    """Each engine's best settings, beyond those in worker.py."""
    if engine == "onnxruntime":
        return {"free": {name: batch for name in free}}
    if engine == "openvino" and dtype == "f32":
        return {"hint": "f32"}  # its default is bf16 on processors that have it
    return {}
