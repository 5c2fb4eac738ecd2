"""The installed command with damaged files, signals, full disks, and closed pipes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG, Run, command


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes some seconds to encode."""
    path = tmp_path_factory.mktemp("large") / "large.npz"
    weights = np.random.default_rng(1).normal(size=(12, 1024, 1024)).astype(np.float32)
    np.savez(path, **{f"w{number}": matrix for number, matrix in enumerate(weights)})
    return path


def start_encoding(source: Path, target: Path, *words: str) -> subprocess.Popen[str]:
    """Start an encoding and wait for its temporary file."""
    process = subprocess.Popen(
        [*command(), "encode", str(source), "-o", str(target), "--best", *words], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + HANG
    while not list(target.parent.glob(".*.part")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    assert process.poll() is None, "the encoding ended before the signal"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_encode_leaves_no_files(large: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = start_encoding(large, tmp_path / "out.wcz")
    process.send_signal(number)
    _, messages = process.communicate(timeout=HANG)
    assert process.returncode == code
    assert "Traceback" not in messages
    assert list(tmp_path.iterdir()) == []


def test_a_killed_encode_does_not_change_the_old_output(large: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.wcz"
    target.write_bytes(b"old")
    process = start_encoding(large, target, "-f")
    process.kill()
    process.communicate(timeout=HANG)
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("where", [0, 5, 30, 200, -100, -1])
def test_a_file_with_a_flipped_bit_is_refused_without_an_output(
    wcodec: Run, coded: Path, tmp_path: Path, where: int
) -> None:
    damaged = bytearray(coded.read_bytes())
    damaged[where] ^= 0x10
    path = tmp_path / "damaged.wcz"
    path.write_bytes(damaged)
    for words in (["verify", path], ["decode", path, "-o", tmp_path / "out.h5"]):
        done = wcodec(*words)
        assert done.returncode in {3, 5}
        assert len(done.stderr.splitlines()) == 1
        assert "damaged.wcz" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["damaged.wcz"]


@pytest.mark.parametrize("length", [0, 3, 23, 24, 1000, -1])
def test_a_truncated_file_is_refused_with_exit_code_3(wcodec: Run, coded: Path, tmp_path: Path, length: int) -> None:
    path = tmp_path / "short.wcz"
    path.write_bytes(coded.read_bytes()[:length])
    for verb in ("verify", "decode", "inspect"):
        done = wcodec(verb, path)
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["short.wcz"]


@pytest.mark.parametrize("words", [["--help"], ["inspect", "CODED"], ["inspect", "CODED", "--json"]])
def test_a_closed_pipe_ends_the_command_with_exit_code_141_without_a_message(coded: Path, words: list[str]) -> None:
    line = [*command(), *(str(coded) if word == "CODED" else word for word in words)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    messages = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=HANG), messages) == (141, "")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["inspect", "CODED"], ["inspect", "CODED", "--json"]])
def test_a_full_disk_of_standard_output_causes_one_line(wcodec: Run, coded: Path, words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = wcodec(*(coded if word == "CODED" else word for word in words), stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "wcodec: standard output: No space left on device\n")


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_verify_works_with_closed_standard_streams(coded: Path, closing: str) -> None:
    line = " ".join([*command(), "verify", str(coded), closing])
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def run_closed(*words: object, closing: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a shell that closes some of its streams."""
    line = " ".join([*command(), *map(str, words), closing])
    return subprocess.run(["sh", "-c", line], capture_output=True, timeout=HANG, check=False)


def test_with_a_closed_standard_error_no_message_goes_to_standard_output(
    samples: Path, coded: Path, tmp_path: Path
) -> None:
    """Neither the summary nor an error follows the file, the JSON, or the model."""
    model, target = samples / "tutorial_cnn.h5", tmp_path / "m.wcz"
    piped = run_closed("encode", model, "-o", "-", closing="2>&-")
    numbers = run_closed("encode", model, "-o", target, "--json", "-v", closing="2>&-")
    assert (piped.returncode, piped.stdout) == (0, target.read_bytes())
    assert json.loads(numbers.stdout)["file_bytes"] == len(piped.stdout)
    back = run_closed("decode", target, "-o", "-", closing="2>&-")
    assert run_closed("decode", target, "-o", tmp_path / "back.h5", closing="2>&-").stdout == b""
    assert (back.returncode, back.stdout) == (0, (tmp_path / "back.h5").read_bytes())
    for wrong in (["verify", model], ["verify", tmp_path / "none.wcz"], ["encode", "--nonsense"]):
        done = run_closed(*wrong, closing="2>&-")
        assert (done.returncode != 0, done.stdout) == (True, b"")


@pytest.mark.parametrize(("verb", "closing", "place"), [
    ("encode", ">&-", "output"), ("decode", ">&-", "output"), ("encode", "<&-", "input"), ("decode", "<&-", "input"),
])  # fmt: skip
def test_a_dash_for_a_closed_stream_is_an_error(
    verb: str, closing: str, place: str, samples: Path, coded: Path
) -> None:
    source = "-" if place == "input" else coded if verb == "decode" else samples / "tutorial_cnn.h5"
    done = run_closed(verb, source, "-o", "-", closing=closing)
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(f"wcodec: -: expected a file (or a pipe as|in) standard {place}, which is closed\n",
                        done.stderr.decode())  # fmt: skip


def test_an_output_folder_that_cannot_be_written_causes_one_line(wcodec: Run, samples: Path) -> None:
    done = wcodec("encode", samples / "tutorial_cnn.h5", "-o", "/proc/out.wcz")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
