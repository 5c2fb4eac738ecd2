"""`-` as a file: input from a pipe and output to a pipe."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG, command, in_a_process


def run_piped(content: bytes, *words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command with `content` as its standard input."""
    line = [*command(), *words]
    return subprocess.run(line, input=content, capture_output=True, timeout=HANG, check=False, **options)


def test_encode_and_decode_through_pipes_restore_the_model(samples: Path, tmp_path: Path) -> None:
    model = (samples / "tutorial_cnn.h5").read_bytes()
    spool = tmp_path / "spool"
    spool.mkdir()
    environment = {"TMPDIR": str(spool)}
    coded = run_piped(model, "encode", "-", "--lossless", "-q", env=environment)
    assert (coded.returncode, coded.stderr) == (0, b"")
    back = run_piped(coded.stdout, "decode", "-", env=environment)
    assert back.returncode == 0
    assert b"standard output" in back.stderr
    assert back.stdout == model
    assert list(spool.iterdir()) == []


def test_pipes_and_files_give_the_same_bytes(samples: Path, tmp_path: Path) -> None:
    model = samples / "tutorial_cnn.h5"
    assert run_piped(b"", "encode", str(model), "-o", str(tmp_path / "m.wcz"), "-q").returncode == 0
    packed = (tmp_path / "m.wcz").read_bytes()
    assert run_piped(b"", "encode", str(model), "-o", "-", "-q").stdout == packed
    assert run_piped(model.read_bytes(), "encode", "-", "-o", str(tmp_path / "n.wcz"), "-q").returncode == 0
    assert (tmp_path / "n.wcz").read_bytes() == packed
    assert run_piped(packed, "decode", "-", "-o", str(tmp_path / "back.h5"), "-q").returncode == 0
    assert (tmp_path / "back.h5").read_bytes() == run_piped(
        b"", "decode", str(tmp_path / "m.wcz"), "-o", "-", "-q"
    ).stdout


def test_a_damaged_source_writes_nothing_to_a_pipe(coded: Path) -> None:
    whole = bytearray(coded.read_bytes())
    whole[len(whole) // 2] ^= 1
    done = run_piped(bytes(whole), "decode", "-")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, b"", 1)
    done = run_piped(b"no model", "encode", "-")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (5, b"", 1)


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_a_full_standard_output_causes_one_line(verb: str, coded: Path, samples: Path) -> None:
    with open("/dev/full", "wb") as full:
        words = [*command(), verb, str(coded if verb == "decode" else samples / "tutorial_cnn.h5"), "-o", "-"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, timeout=HANG, check=False)
    assert (done.returncode, done.stderr) == (1, b"wcodec: standard output: No space left on device\n")


def test_encode_to_a_closed_pipe_ends_with_exit_code_0_or_141(samples: Path) -> None:
    model = samples / "lenet5.keras"
    words = [*command(), "encode", str(model), "-o", "-", "--lossless", "-q"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.read(4) == b"\x89WCZ"
    process.stdout.close()
    assert process.wait(60) in {0, 141}


@pytest.mark.parametrize("words", [["decode", "-q", "-o", "-"], ["inspect", "--json"]], ids=["bytes", "text"])
def test_a_partial_write_to_an_unbuffered_output_is_an_error(words: list[str], tmp_path: Path) -> None:
    """A pipe accepts 64 kB of the last piece before its reader closes it; a full disk does the same."""
    model, coded = tmp_path / "many.npz", tmp_path / "many.wcz"
    np.savez(model, **{f"tensor{number}": np.full((40, 5), number, np.float32) for number in range(400)})
    assert in_a_process("encode", model, "-o", coded, "-q").returncode == 0
    process = subprocess.Popen(
        [*command(), words[0], str(coded), *words[1:]],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    assert len(process.stdout.read(10)) == 10
    process.stdout.close()
    assert process.wait(HANG) == 141
