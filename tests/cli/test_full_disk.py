"""A disk that is full while a file of any format is written: one line, exit code 1, and no files left."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest
from attack.small_models import encode_small, weights
from conftest import command

NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""Python 3.11 keeps a bytecode file that was cut off by a limit."""


@pytest.mark.parametrize("kind", ["hdf5", "keras", "npz", "safetensors"])
@pytest.mark.parametrize(("lossless", "limit"), [(False, 0), (False, 4096), (True, 1024)])
def test_a_full_disk_causes_one_line_and_leaves_no_files(kind: str, lossless: bool, limit: int, tmp_path: Path) -> None:
    packed = encode_small(tmp_path, kind, {"layers/a/vars/0": weights(1, 90, 70)}, lossless=lossless)
    before = sorted(tmp_path.iterdir())
    words = [*command(), "decode", str(packed), "-o", str(tmp_path / "out")]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        env=os.environ | NO_BYTECODE,
    )
    assert (done.returncode, done.stderr) == (1, f"wcodec: {tmp_path / 'out'}: File too large\n")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["inspect", "{model}"],
        ["inspect", "--json", "{model}"],
    ],
)
def test_a_full_disk_of_standard_output_is_named(words: list[str], samples: Path) -> None:
    places = {"{model}": samples / "tutorial_cnn.h5"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*command(), *(str(places.get(word, word)) for word in words)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "wcodec: standard output: No space left on device\n")


@pytest.mark.parametrize(("source", "words"), [("input", ["-", "-o", "{out}"]), ("output", ["{model}", "-o", "-"])])
def test_a_full_disk_of_the_copy_of_a_standard_stream_is_named(
    source: str, words: list[str], samples: Path, tmp_path: Path
) -> None:
    model = samples / "tutorial_cnn.h5"
    places = {"{model}": str(model), "{out}": str(tmp_path / "out.wcz")}
    done = subprocess.run(
        [*command(), "encode", *(places.get(word, word) for word in words), "-q"],
        input=model.read_bytes(),
        capture_output=True,
        check=False,
        env={"TMPDIR": str(tmp_path), **NO_BYTECODE},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"wcodec: standard {source}, kept in {tmp_path}/wcodec-".encode())
    assert done.stderr.endswith(b": File too large\n")
    assert not list(tmp_path.iterdir())
