"""Families: a folder of similar files, encoded as a tree of bases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz, write_safetensors
from conftest import Run

import wcodec as package
from wcodec.pipeline.base_chain import chain_of
from wcodec.pipeline.family import DEEPEST, find_parents, waves


def write_family(folder: Path, count: int = 6) -> list[Path]:
    """Two sequences of versions, an unrelated model of the same shapes, one of other shapes, and a text file."""
    folder.mkdir()
    paths = []
    for line in range(2):
        values = weights(line, 90, 70)
        for number in range(count // 2):
            paths.append(
                write_safetensors(folder / f"{line}{number}.safetensors", {"w": values, "b": weights(line, 70)})
            )
            values = values + np.float32(2e-3) * weights(100 + 10 * line + number, 90, 70)
    paths.append(write_safetensors(folder / "stranger.safetensors", {"w": weights(7, 90, 70), "b": weights(8, 70)}))
    paths.append(write_npz(folder / "other.npz", {"w": weights(9, 30, 20)}))
    (folder / "README.md").write_text("no model")
    return paths


@pytest.mark.parametrize("words", [{"lossless": True}, {}], ids=str)
def test_a_family_is_smaller_and_no_member_is_larger_than_a_separate_file(
    words: dict[str, object], tmp_path: Path
) -> None:
    plain = write_family(tmp_path / "plain")
    whole = package.encode(tmp_path / "plain", tmp_path / "family", family=True, **words).file_bytes
    alone = package.encode(tmp_path / "plain", tmp_path / "alone", **words).file_bytes
    assert whole < 0.9 * alone
    for path in plain:
        own, single = (tmp_path / name / f"{path.name}.wcz" for name in ("family", "alone"))
        assert own.stat().st_size <= single.stat().st_size
        if words:
            assert package.decode(own) == path.read_bytes()
    assert chain_of(tmp_path / "family" / "stranger.safetensors.wcz") == []
    based = [path for path in plain if chain_of(tmp_path / "family" / f"{path.name}.wcz")]
    assert len(based) == 4
    package.verify(tmp_path / "family")
    package.decode(tmp_path / "family", tmp_path / "back")
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == sorted(
        path.name for path in (tmp_path / "plain").iterdir()
    )


@pytest.mark.parametrize("words", [["--lossless"], []], ids=str)
def test_a_new_member_does_not_rewrite_other_members(wcodec: Run, words: list[str], tmp_path: Path) -> None:
    plain = write_family(tmp_path / "plain")
    encode = ["encode", tmp_path / "plain", "--family", "-o", tmp_path / "family", *words]
    assert wcodec(*encode).returncode == 0
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in (tmp_path / "family").glob("*s.wcz")}
    newest = package.load(package.encode(plain[2], lossless=True))["w"]
    added = {"w": newest + np.float32(1e-3) * weights(99, 90, 70), "b": weights(0, 70)}
    write_safetensors(tmp_path / "plain" / "new.safetensors", added)
    done = wcodec(*encode)
    assert done.returncode == 0, done.stderr
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in before} == before
    assert chain_of(tmp_path / "family" / "new.safetensors.wcz")
    assert wcodec("verify", tmp_path / "family").returncode == 0
    (tmp_path / "family" / "00.safetensors.wcz").unlink()
    done = wcodec("verify", tmp_path / "family")
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)


def test_parents_differ_least_and_a_long_sequence_has_its_root_in_the_middle(tmp_path: Path) -> None:
    values, paths = weights(1, 50, 40), []
    for number in range(2 * DEEPEST + 1):
        paths.append(write_safetensors(tmp_path / f"{number:02}.safetensors", {"w": values}))
        values = values + np.float32(1e-3) * weights(20 + number, 50, 40)
    parents = find_parents(paths, {})
    assert parents.count(None) == 1
    assert all(abs(parent - number) == 1 for number, parent in enumerate(parents) if parent is not None)
    assert len(waves(parents)) <= DEEPEST + 1
    assert sorted(number for wave in waves(parents) for number in wave) == list(range(len(paths)))
    assert find_parents(paths, {3: 0})[3] is None


def test_the_option_family_needs_a_folder(wcodec: Run, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", {"w": weights(1, 20, 10)})
    done = wcodec("encode", path, "--family")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--family: expected a folder of model files" in done.stderr
