"""Chains: a .wcz whose base is a .wcz with a base; bases are found by digest, and `rebase` ends a chain."""

from __future__ import annotations

import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from attack.small_models import weights
from conftest import THOROUGH, Run

import wcodec as package
from wcodec.errors import ContainerError, RecipeError

STEPS = 5


def write_checkpoints(folder: Path, count: int = STEPS) -> list[Path]:
    """Checkpoints of a training in bfloat16."""
    folder.mkdir(exist_ok=True)
    values = {"w": weights(1, 120, 90), "b": weights(2, 90)}
    paths = []
    for number in range(count):
        values = {name: old + 3e-3 * weights(10 + number, *old.shape) for name, old in values.items()}
        paths.append(folder / f"c{number}.safetensors")
        plain = {name: array.astype(ml_dtypes.bfloat16) for name, array in values.items()}
        paths[-1].write_bytes(package.decode(package.encode(plain, lossless=True)))
    return paths


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """Checkpoints, and their .wcz files, each with the one before as its base."""
    plain = write_checkpoints(tmp_path_factory.mktemp("plain"))
    folder = tmp_path_factory.mktemp("chain")
    coded: list[Path] = []
    for number, path in enumerate(plain):
        coded.append(folder / f"c{number}.wcz")
        package.encode(path, coded[-1], lossless=True, base=coded[-2] if number else None)
    return plain, coded


def test_every_member_is_decoded_with_bases_in_its_folder(chain: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    plain, coded = chain
    for before, after in zip(plain, coded, strict=True):
        assert package.decode(after) == before.read_bytes()
    package.verify(coded[-1])
    np.testing.assert_array_equal(
        package.open(coded[-1])["w"], package.load(package.encode(plain[-1], lossless=True))["w"]
    )
    assert set(package.load(coded[-1])) == {"w", "b"}
    assert all(path.stat().st_size < 0.8 * coded[0].stat().st_size for path in coded[1:])


def test_bases_can_be_in_another_folder(wcodec: Run, chain: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    plain, coded = chain
    last = shutil.copy(coded[-1], tmp_path / "last.wcz")
    done = wcodec("decode", last, "-o", tmp_path / "m.safetensors", "--base", coded[0].parent)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.safetensors").read_bytes() == plain[-1].read_bytes()
    assert package.decode(last, base=coded[-2]) == plain[-1].read_bytes()
    assert package.decode(last, base=plain[-2]) == plain[-1].read_bytes()
    assert package.decode(last, base=plain[0].parent) == plain[-1].read_bytes()


def test_missing_wrong_and_damaged_bases_are_refused_by_name(
    wcodec: Run, chain: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    _, coded = chain
    for path in coded:
        shutil.copy(path, tmp_path / path.name)
    last, middle = tmp_path / coded[-1].name, tmp_path / coded[2].name
    done = wcodec("verify", last, "--base", tmp_path / "c1.wcz")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "c1.wcz: expected the base of SHA-256" in done.stderr
    assert "that is" in done.stderr
    assert "c3.wcz" in done.stderr
    middle.unlink()
    done = wcodec("decode", last, "-o", tmp_path / "m")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "c3.wcz: expected --base with the file of SHA-256" in done.stderr
    assert not (tmp_path / "m").exists()
    middle.write_bytes(coded[2].read_bytes()[:-9])
    with pytest.raises(RecipeError, match=r"c3\.wcz: expected --base"):
        package.verify(last)
    damaged = bytearray(coded[2].read_bytes())
    damaged[60] ^= 1
    middle.write_bytes(damaged)
    with pytest.raises(ContainerError):
        package.verify(last)


def test_rebase_ends_a_chain_and_later_members_are_still_decoded(
    wcodec: Run, chain: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    plain, coded = chain
    for path in coded[2:]:
        shutil.copy(path, tmp_path / path.name)
    words = ["rebase", tmp_path / "c2.wcz", "--base", coded[0].parent]
    assert wcodec(*words).returncode == 1
    assert wcodec(*words, "-f", "--self-contained").returncode == 0
    assert [package.decode(tmp_path / f"c{number}.wcz") for number in (2, 3, 4)] == [
        plain[number].read_bytes() for number in (2, 3, 4)
    ]
    package.rebase(tmp_path / "c4.wcz", tmp_path / "onto.wcz", onto=tmp_path / "c2.wcz")
    assert package.decode(tmp_path / "onto.wcz", base=tmp_path / "c2.wcz") == plain[4].read_bytes()
    numbers = package.rebase(tmp_path / "c3.wcz", tmp_path / "alone.wcz")
    assert package.decode((tmp_path / "alone.wcz").read_bytes()) == plain[3].read_bytes()
    assert numbers.file_bytes > coded[3].stat().st_size


def test_the_base_is_the_lossy_file_itself(tmp_path: Path) -> None:
    plain = write_checkpoints(tmp_path / "plain", 3)
    package.encode(plain[0], tmp_path / "c0.wcz")
    package.encode(plain[1], tmp_path / "c1.wcz", base=tmp_path / "c0.wcz")
    package.encode(plain[2], tmp_path / "c2.wcz", base=tmp_path / "c1.wcz", lossless=True)
    assert package.decode(tmp_path / "c2.wcz") == plain[2].read_bytes()
    package.encode(plain[0], tmp_path / "c0.wcz", preset="small")
    with pytest.raises(RecipeError, match=r"c1\.wcz: expected base with the file"):
        package.decode(tmp_path / "c2.wcz")


def test_a_long_chain_is_decoded(tmp_path: Path) -> None:
    values, last = weights(1, 8, 9), None
    length = 60 if THOROUGH else 30
    for number in range(length):
        values = values + np.float32(1e-3)
        package.encode({"w": values}, tmp_path / f"{number}.wcz", lossless=True, base=last, threads=1)
        last = tmp_path / f"{number}.wcz"
    np.testing.assert_array_equal(package.load(tmp_path / f"{length - 1}.wcz")["w"], values)
