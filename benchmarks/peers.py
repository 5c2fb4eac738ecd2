"""Other lossless coders of weights, each measured in the same way: bytes, CPU seconds in and out."""

from __future__ import annotations

import importlib
import json
import lzma
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import zstandard
from packages import CACHE

PEERS = CACHE / "peers"
SHORT = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True)
class Set:
    """A model's tensors in one type."""

    name: str
    dtype: str
    arrays: dict[str, np.ndarray]

    @property
    def nbytes(self) -> int:
        """Raw bytes of the tensors."""
        return sum(array.nbytes for array in self.arrays.values())

    def raw(self) -> bytes:
        """All of them, one after the other."""
        return b"".join(array.tobytes() for array in self.arrays.values())


@dataclass(frozen=True)
class Result:
    """Bytes, and CPU seconds in and out."""

    nbytes: int
    encode: float
    decode: float


def install_peers() -> None:
    """zipnn and lmzip, by name."""
    PEERS.mkdir(parents=True, exist_ok=True)
    if not (PEERS / "zipnn").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(PEERS)]
        subprocess.run([*command, "zipnn", "lmzip"], check=True)
    sys.path.append(str(PEERS))


def least(run: Callable[[], object], runs: int) -> float:
    """CPU seconds of the best of some runs."""
    best = float("inf")
    for _ in range(runs):
        begin = time.process_time()
        run()
        best = min(best, time.process_time() - begin)
    return best


def zipnn(chosen: Set, runs: int) -> Result:
    """In memory, one thread."""
    with warnings.catch_warnings(), _without_torch():
        warnings.simplefilter("ignore")
        module = importlib.import_module("zipnn")
    coder = module.ZipNN(bytearray_dtype=chosen.dtype, input_format="byte", threads=1)
    raw = chosen.raw()
    packed = coder.compress(bytearray(raw))
    assert bytes(coder.decompress(packed)) == raw
    return Result(
        len(packed),
        least(lambda: coder.compress(bytearray(raw)), runs),
        least(lambda: coder.decompress(packed), runs),
    )


@contextmanager
def _without_torch() -> Iterator[None]:
    """zipnn imports PyTorch (a gigabyte) for its tensors; coding bytes takes only what it imports from there."""
    names = ("torch", "safetensors.torch")
    missing = [name for name in names if name not in sys.modules and not _is_there(name)]
    sys.modules.update((name, MagicMock()) for name in missing)
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


def _is_there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def lmzip(chosen: Set, runs: int) -> Result:
    """From a safetensors file to a file and back; it has no interface in memory."""
    module = importlib.import_module("lmz")
    with tempfile.TemporaryDirectory() as folder:
        source, packed, back = (Path(folder) / name for name in ("m.safetensors", "m.lmz", "back.safetensors"))
        write_safetensors(source, chosen)
        encode = least(lambda: _fresh(packed, lambda: module.compress(str(source), str(packed))), runs)
        decode = least(lambda: _fresh(back, lambda: module.decompress(str(packed), str(back))), runs)
        assert back.read_bytes() == source.read_bytes()
        return Result(packed.stat().st_size, encode, decode)


def _fresh(target: Path, run: Callable[[], object]) -> None:
    target.unlink(missing_ok=True)
    run()


def zstd(chosen: Set, _: int) -> Result:
    """Level 19."""
    raw = chosen.raw()
    begin = time.process_time()
    packed = zstandard.ZstdCompressor(level=19).compress(raw)
    return Result(len(packed), time.process_time() - begin, least(lambda: zstandard.decompress(packed), 2))


def xz(chosen: Set, _: int) -> Result:
    """Level 9, extreme."""
    raw = chosen.raw()
    begin = time.process_time()
    packed = lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)
    return Result(len(packed), time.process_time() - begin, least(lambda: lzma.decompress(packed), 1))


def write_safetensors(target: Path, chosen: Set) -> None:
    """The set as a model file."""
    header, at = {}, 0
    for key, array in chosen.arrays.items():
        shape, end = list(array.shape), at + array.nbytes
        header[key] = {"dtype": SHORT[chosen.dtype], "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(len(text).to_bytes(8, "little") + text + chosen.raw())
