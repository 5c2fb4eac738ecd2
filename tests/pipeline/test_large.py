"""Files larger than memory or disk: they are read by byte ranges, and written completely or not at all."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import WRITERS, weights, write_safetensors
from conftest import HANG, Run

import wcodec as package
from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.pipeline.decoder import open_container


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Limit the files of this process to `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("words", [["--lossless"], []], ids=["lossless", "lossy"])
@pytest.mark.parametrize("kind", ["hdf5", "keras", "npz", "safetensors"])
def test_a_full_disk_of_encode_or_decode_causes_one_line_and_leaves_no_files(
    kind: str, words: list[str], wcodec: Run, tmp_path: Path
) -> None:
    source = WRITERS[kind](tmp_path / f"m.{kind}", {"a": weights(1, 400, 500), "b": weights(2, 400, 500)})
    source = source if source.exists() else source.with_name(f"{source.name}.npz")
    packed = tmp_path / "m.wcz"
    assert wcodec("encode", source, "-o", packed, *words).returncode == 0
    before = set(tmp_path.iterdir())
    with full_disk(50_000):
        encoded = wcodec("encode", source, "-o", tmp_path / "again.wcz", *words)
    with full_disk(500_000):
        decoded = wcodec("decode", packed, "-o", tmp_path / "back")
    for done in (encoded, decoded):
        assert done.returncode == 1, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "too large" in done.stderr
        assert "internal" not in done.stderr
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["hdf5", "keras"])
def test_a_disk_that_is_full_at_any_offset_of_an_hdf5_file_causes_one_line(
    kind: str, wcodec: Run, tmp_path: Path
) -> None:
    arrays = {f"layer_{number}/kernel": weights(number, 64, 64) for number in range(20)}
    source = WRITERS[kind](tmp_path / f"m.{kind}", arrays)
    assert wcodec("encode", source, "-o", tmp_path / "m.wcz").returncode == 0
    before = set(tmp_path.iterdir())
    for size in (1, 1024, 40_000, 200_000, 325_000):
        with full_disk(size):
            done = wcodec("decode", tmp_path / "m.wcz", "-o", tmp_path / "back")
        assert (done.returncode, done.stderr) == (1, f"wcodec: {tmp_path / 'back'}: File too large\n")
        assert set(tmp_path.iterdir()) == before


def test_reading_a_tensor_reads_only_its_own_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {name: weights(number, 300, 700) for number, name in enumerate("abcd")}
    source = write_safetensors(tmp_path / "m.safetensors", arrays)
    reads: list[tuple[int, int]] = []
    pread = os.pread

    def count_read(file: int, length: int, offset: int) -> bytes:
        reads.append((offset, length))
        return pread(file, length, offset)

    for words in ({"lossless": True}, {"bits": 5}):
        package.encode(source, tmp_path / "m.wcz", **words)
        with open_container(tmp_path / "m.wcz") as opened:
            (section,) = opened.container.records[2].sections
        weights_of = package.open(tmp_path / "m.wcz")
        monkeypatch.setattr(os, "pread", count_read)
        reads.clear()
        values = weights_of["c"]
        assert reads == [(section.offset, section.length)]
        reads.clear()
        package.open(tmp_path / "m.wcz")
        assert sum(length for _, length in reads) < 2000
        monkeypatch.undo()
        assert np.array_equal(values, arrays["c"]) or "bits" in words


PEAK = """
import resource, sys
from wcodec.cli import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
words = [*sys.argv[1:], "-q", "-T", "1"]
assert main(words) == 0
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(line.split()[1]) / 1024)
"""


def test_the_memory_for_an_exact_tensor_does_not_grow_with_its_size(tmp_path: Path) -> None:
    peaks = []
    for chunks in (4, 16):
        values = np.tile(weights(1, 1 << 16).view(np.uint32), chunks * CHUNK_WEIGHTS // (1 << 16)).view(np.float32)
        source = write_safetensors(tmp_path / f"{chunks}.safetensors", {"w": values.reshape(-1, 1024)})
        packed, back = tmp_path / f"{chunks}.wcz", tmp_path / f"{chunks}.back"
        encode = ["encode", "--lossless", "--fast", source, "-o", packed]
        commands = (encode, ["decode", packed, "-o", back], ["verify", packed])
        for words in commands:
            program = [sys.executable, "-c", PEAK, *map(str, words)]
            done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=HANG, cwd=tmp_path)
            peaks.append(float(done.stdout))
        assert back.read_bytes() == source.read_bytes()
    small, large = peaks[:3], peaks[3:]
    assert all(after < before + 30 for before, after in zip(small, large, strict=True)), json.dumps(peaks)


@pytest.mark.parametrize("words", [[], ["--sparsity", "0.5", "--step", "0.05"]], ids=["trellis", "sparse"])
def test_the_memory_of_lossy_encoding_grows_by_at_most_two_copies_of_the_tensor(
    words: list[str], tmp_path: Path
) -> None:
    peaks = []
    for rows in (1024, 12 * 1024):
        values = np.tile(weights(1, 1024, 1024), (rows // 1024, 1))
        values[0, 0] = np.nan
        source = write_safetensors(tmp_path / f"{rows}.safetensors", {"w": values})
        packed = tmp_path / "m.wcz"
        program = [sys.executable, "-c", PEAK, "encode", "--fast", str(source), "-f", "-o", str(packed), *words]
        done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=HANG, cwd=tmp_path)
        peaks.append(float(done.stdout))
    assert peaks[1] - peaks[0] < (2.2 if words else 1.4) * 44, peaks
