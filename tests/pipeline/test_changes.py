"""A file that changes while it is encoded causes an error of one line and gives no output."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_safetensors

from wcodec.errors import WcodecError
from wcodec.files import sha256_of
from wcodec.model import TensorSpec
from wcodec.modelfiles.shards import folder_of
from wcodec.pipeline import lossless_encoder
from wcodec.pipeline.encoder import encode
from wcodec.pipeline.folder_encoder import encode_folder
from wcodec.pipeline.lossless_encoder import _check_source, encode_lossless
from wcodec.planning.recipe import Options, Recipe


def write_in_place(path: Path) -> None:
    """Write other bytes of the same number."""
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"changed!")
    os.utime(path, ns=(1, 1))


def write_and_restore_times(path: Path) -> None:
    """Write other bytes, and keep the times of the file."""
    facts = path.stat()
    write_in_place(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def replace_atomically(path: Path) -> None:
    """Replace the file by another with the same bytes and times."""
    other, facts = path.with_name("other"), path.stat()
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(path)


CHANGES: list[tuple[str, Callable[[Path], object], bool]] = [
    (which, change, lossless)
    for which in ("m", "base")
    for change in (write_in_place, write_and_restore_times, replace_atomically, Path.unlink)
    for lossless in (True, False)
]


@pytest.mark.parametrize(("which", "change", "lossless"), CHANGES)
def test_a_file_that_changes_is_an_error_without_an_output(
    which: str, change: Callable[[Path], object], lossless: bool, tmp_path: Path
) -> None:
    arrays = {name: weights(number, 60, 70) for number, name in enumerate("abcd")}
    paths = {name: write_safetensors(tmp_path / f"{name}.safetensors", arrays) for name in ("m", "base")}
    done: list[TensorSpec] = []

    def progress(facts: TensorSpec) -> None:
        if not done:
            change(paths[which])
        done.append(facts)

    target, recipe = tmp_path / "m.wcz", Recipe(options=Options(lossless=lossless))
    with pytest.raises(WcodecError, match=f"{which}.safetensors: changed while") as caught:
        encode(paths["m"], target, recipe, base=paths["base"], threads=1, progress=progress)
    assert type(caught.value) is WcodecError
    assert not [path for path in tmp_path.iterdir() if ".wcz" in path.name]


@pytest.mark.parametrize("name", ["m.safetensors", "m.npz", "m.txt"])
def test_a_change_that_is_reverted_is_an_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / name, tmp_path / "m.wcz"
    if name.endswith(".npz"):
        np.savez(source, **{key: np.asfortranarray(weights(number, 60, 70)) for number, key in enumerate("abcd")})
    elif name.endswith(".txt"):
        source.write_bytes(b"some words, and more of them\n" * 80_000)
    else:
        write_safetensors(source, {key: weights(number, 60, 70) for number, key in enumerate("abcd")})
    whole = source.read_bytes()
    digest = sha256_of(source)
    source.write_bytes(whole[:-900] + bytes(400) + whole[-500:])
    monkeypatch.setattr(lossless_encoder, "sha256_of", lambda path: digest)

    def check(*given: object) -> None:
        source.write_bytes(whole)
        _check_source(*given)

    monkeypatch.setattr(lossless_encoder, "_check_source", check)
    with pytest.raises(WcodecError, match="changed while it was encoded"):
        encode_lossless(source, None, None, target, "normal", 1)


def test_a_file_of_a_folder_that_changes_after_its_part_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "model"
    source.mkdir()
    paths = [write_safetensors(source / f"{name}.safetensors", {name: weights(1, 20, 30)}) for name in "ab"]
    folder = folder_of(source)
    assert folder
    from wcodec.pipeline import folder_encoder

    run = folder_encoder.run

    def run_and_change(job: folder_encoder.EncodeJob) -> folder_encoder.JobResult:
        result = run(job)
        if job.source.name == "b.safetensors":
            write_in_place(paths[0])
        return result

    monkeypatch.setattr(folder_encoder, "run", run_and_change)
    with pytest.raises(WcodecError, match=r"a\.safetensors: changed while"):
        encode_folder(folder, tmp_path / "out", Recipe())
    assert not (tmp_path / "out" / "index.wcz").exists()
