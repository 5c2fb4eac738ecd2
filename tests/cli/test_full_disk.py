"""A disk that is full while a file of any format is written: one line, exit 1, and nothing left."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest
from attack.small_models import coded, weights
from conftest import command


@pytest.mark.parametrize("kind", ["hdf5", "keras", "npz", "safetensors"])
@pytest.mark.parametrize(("lossless", "limit"), [(False, 0), (False, 4096), (True, 1024)])
def test_a_full_disk_is_one_line_and_leaves_nothing(kind: str, lossless: bool, limit: int, tmp_path: Path) -> None:
    packed = coded(tmp_path, kind, {"layers/a/vars/0": weights(1, 90, 70)}, lossless=lossless)
    before = sorted(tmp_path.iterdir())
    words = [*command(), "decode", str(packed), "-o", str(tmp_path / "out")]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert (done.returncode, done.stderr) == (1, f"wcodec: {tmp_path / 'out'}: File too large\n")
    assert sorted(tmp_path.iterdir()) == before
