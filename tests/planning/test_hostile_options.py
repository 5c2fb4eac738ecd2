"""Wrong paths in options cause an error of one line, and no file is lost or left behind."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from wcodec.errors import ModelFileError
from wcodec.training.checkpoint import VERSION, RunSettings, read
from wcodec.training.training_loop import TrainingState

WEIGHTS = np.random.default_rng(5).normal(size=(40, 30)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The later of two versions, `m.npz` and `old.npz`."""
    np.savez(tmp_path / "m.npz", w=WEIGHTS)
    np.savez(tmp_path / "old.npz", w=WEIGHTS - np.float32(0.01))
    return tmp_path / "m.npz"


def test_the_base_is_refused_as_output_and_as_report(wcodec: Run, model: Path) -> None:
    old = model.with_name("old.npz")
    before = old.read_bytes()
    for words in (["-o", old], ["-o", model.with_name("o.wcz"), "--report", old]):
        done = wcodec("encode", model, "--base", old, "-f", *words)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "internal" not in done.stderr
        assert old.read_bytes() == before
    assert not model.with_name("o.wcz").exists()


def test_encode_with_a_base_writes_a_report(wcodec: Run, model: Path) -> None:
    page = model.with_name("r.html")
    assert wcodec("encode", model, "--base", model.with_name("old.npz"), "--report", page).returncode == 0
    assert page.stat().st_size > 1000


def test_a_base_that_is_a_pipe_is_refused_without_waiting(wcodec: Run, model: Path) -> None:
    coded, pipe = model.with_name("o.wcz"), model.with_name("pipe")
    os.mkfifo(pipe)
    assert wcodec("encode", model, "--base", model.with_name("old.npz"), "-o", coded).returncode == 0
    for verb in ("decode", "verify"):
        done = wcodec(verb, coded, "--base", pipe, *(["-o", model.with_name("back.npz")] if verb == "decode" else []))
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert not model.with_name("back.npz").exists()


def test_a_report_with_another_path_of_the_output_is_refused(wcodec: Run, model: Path) -> None:
    (model.parent / "sub").mkdir()
    out = model.with_name("o.wcz")
    done = wcodec("encode", model, "-o", out, "--report", model.parent / "sub" / ".." / "o.wcz")
    assert (done.returncode, len(done.stderr.splitlines()), out.exists()) == (1, 1, False)


def test_pipes_devices_and_circular_links_are_refused_without_waiting(wcodec: Run, model: Path) -> None:
    pipe, link = model.with_name("pipe"), model.with_name("link.wcz")
    os.mkfifo(pipe)
    link.symlink_to(link)
    for words in (
        ["encode", pipe], ["decode", pipe], ["verify", pipe], ["inspect", pipe], ["encode", "/dev/zero", "--lossless"],
        ["encode", model, "--base", pipe], ["encode", model, "-o", link],
    ):  # fmt: skip
        done = wcodec(*words)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), words
        assert "internal" not in done.stderr, words


@pytest.mark.parametrize("step", ["1e-300", "1e300", "nan", "0"])
def test_a_step_out_of_the_range_of_float32_is_refused(wcodec: Run, model: Path, step: str) -> None:
    done = wcodec("encode", model, "--step", step)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_file_name_can_have_the_largest_length_of_the_file_system(wcodec: Run, model: Path) -> None:
    out, back = model.with_name("a" * 251 + ".wcz"), model.with_name("b" * 251 + ".npz")
    assert wcodec("encode", model, "-o", out).returncode == 0
    assert wcodec("decode", out, "-o", back).returncode == 0
    assert len(list(model.parent.iterdir())) == 4


def test_an_output_in_the_folder_that_is_encoded_is_refused(wcodec: Run, model: Path) -> None:
    before = sorted(model.parent.iterdir())
    for target in (model.parent, model.parent / "inner"):
        done = wcodec("encode", model.parent, "-o", target)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "internal" not in done.stderr
    assert sorted(model.parent.iterdir()) == before


def test_decode_selects_tensors_whose_names_are_arguments_of_numpy(wcodec: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        for name in ("file", "allow_pickle"):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, WEIGHTS)
    assert wcodec("encode", tmp_path / "m.npz", "--lossless").returncode == 0
    some = ["--tensor", "file", "--tensor", "allow_pickle"]
    assert wcodec("decode", tmp_path / "m.npz.wcz", *some, "-o", tmp_path / "o.npz").returncode == 0
    with np.load(tmp_path / "o.npz") as arrays:
        assert all(np.array_equal(arrays[name], WEIGHTS) for name in ("file", "allow_pickle"))


def test_escape_sequences_in_names_are_not_printed(wcodec: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for name, shape in (("\x1b[2J\x07", [2]), ("\x1b]0;x\x07", [3])):
        header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 8]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"12345678")
        done = wcodec("inspect", path)
        assert not {"\x1b", "\x07"} & set(done.stdout + done.stderr)


@pytest.mark.parametrize("arrays", [{"w": np.float64(3)}, {"w": np.array(["a"])}, {"w": np.ones((2, 2, 2))}])
def test_invalid_moments_cause_one_line(wcodec: Run, model: Path, arrays: dict[str, np.ndarray]) -> None:
    moments = model.with_name("x.npz")
    np.savez(moments, **arrays)
    done = wcodec("encode", model, "--moments", moments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "internal" not in done.stderr


def test_moments_in_a_damaged_archive_cause_one_line(wcodec: Run, model: Path) -> None:
    moments = model.with_name("x.npz")
    np.savez_compressed(moments, w=np.arange(1000.0))
    raw = bytearray(moments.read_bytes())
    raw[40:200] = b"\xff" * 160
    moments.write_bytes(raw)
    done = wcodec("encode", model, "--moments", moments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


SETTINGS = RunSettings(
    source="s",
    data="d",
    validation=None,
    epochs=1,
    max_drop=None,
    max_loss=None,
    target_bytes=None,
    augment=None,
    seed=0,
    limit=None,
    rescale=None,
    excluded=[],
)


@pytest.mark.parametrize(
    "story",
    [
        b"[]",
        b'{"version":VERSION,"settings":"x"}',
        b"[" * 100_000,
        b'{"version":VERSION,"settings":SETTINGS,"state":Infinity}',
    ],
)
def test_a_modified_training_state_is_refused(story: bytes, tmp_path: Path) -> None:
    settings = json.dumps(SETTINGS.__dict__).encode()
    text = story.replace(b"SETTINGS", settings).replace(b"VERSION", str(VERSION).encode())
    np.savez(tmp_path / "state.npz", story=np.frombuffer(text, np.uint8))
    with pytest.raises(ModelFileError):
        read(tmp_path / "state.npz", SETTINGS, TrainingState)


def test_a_training_state_is_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    np.savez(tmp_path / "state.npz", story=np.array([Trap()], dtype=object))
    with pytest.raises(ModelFileError):
        read(tmp_path / "state.npz", SETTINGS, TrainingState)
    assert not (tmp_path / "ran").exists()
