"""A checkpoint of three shards, larger than the memory allowed: encoded, decoded and compared, with the peak of memory.

python benchmarks/large.py [--gigabytes 6] [--folder /tmp] [--keep] [--words "--lossless"]...
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHARDS = 3
SIDE = 4096
WCODEC = str(Path(sys.executable).parent / "wcodec")


def generate(folder: Path, gigabytes: float) -> None:
    """Shards of float32 matrices of 64 MiB that look trained: normal, a scale of its own for each row."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    mapped: dict[str, str] = {}
    each = max(1, round(gigabytes * 1e9 / SHARDS / (4 * SIDE * SIDE)))
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        names = [f"layers.{shard * each + i}.weight" for i in range(each)]
        size = 4 * SIDE * SIDE
        header = json.dumps(
            {n: {"dtype": "F32", "shape": [SIDE, SIDE], "data_offsets": [i * size, (i + 1) * size]}
             for i, n in enumerate(names)}, separators=(",", ":"),
        ).encode()  # fmt: skip
        with (folder / name).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for _ in names:
                for _ in range(16):
                    scale = np.exp(rng.normal(0, 0.3, (SIDE // 16, 1))).astype(np.float32) * np.float32(0.02)
                    file.write((rng.standard_normal((SIDE // 16, SIDE), np.float32) * scale).tobytes())
        mapped |= dict.fromkeys(names, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": mapped}))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(done.returncode, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
"""


def run(*words: object) -> str:
    """Runs wcodec; its peak memory (the largest it ever held, mapped pages included) and times, as cells of a table."""
    start = time.perf_counter()
    command = [sys.executable, "-c", PEAK, WCODEC, *map(str, words), "-q"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    code, peak, cpu = done.stdout.split()
    if code != "0":
        raise RuntimeError(f"wcodec {' '.join(map(str, words))}: exit {code}")
    return f"{float(peak):,.0f} | {time.perf_counter() - start:.0f} | {float(cpu):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--words", action="append", help="options of encode, once a run")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="wcodec-large-", dir=args.folder))
    try:
        generate(root / "m", args.gigabytes)
        size = sum(path.stat().st_size for path in (root / "m").iterdir())
        print(f"{size:,} bytes in {SHARDS} shards\n")
        print("| command | bytes | peak MB | wall s | CPU s |\n|---|--:|--:|--:|--:|")
        before = digests(root / "m")
        for words in args.words or ["--lossless --fast", "--fast"]:
            told = run("encode", root / "m", "-o", root / "out", *words.split())
            packed = sum(path.stat().st_size for path in (root / "out").iterdir())
            print(f"| encode {words} | {packed:,} | {told} |", flush=True)
            print(f"| verify | | {run('verify', root / 'out')} |", flush=True)
            print(f"| decode | | {run('decode', root / 'out', '-o', root / 'back')} |", flush=True)
            if "--lossless" in words and digests(root / "back") != before:
                raise RuntimeError("the files that came back are others")
            shutil.rmtree(root / "out")
            shutil.rmtree(root / "back")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
