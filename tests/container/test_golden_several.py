"""Golden containers with a base, and those of several files; random damage to each kind of lossless container."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import reference_base
import reference_decoder
from conftest import ROOT, THOROUGH
from round_trips import contents
from safetensors.numpy import load_file

import wcodec as package
from wcodec.errors import ContainerError

GOLDEN = ROOT / "formats" / "golden"
OLD = GOLDEN / "based" / "old.safetensors"
BASED = json.loads((GOLDEN / "based" / "expected.json").read_text())
FOLDER = json.loads((GOLDEN / "folder.json").read_text())
ATTACKS = 1000 if THOROUGH else 60
SINGLE = (
    "good/exact-numbers", "good/exact-columns", "good/exact-kernel", "good/exact-blocks", "good/identical-hdf5",
    "good/identical-apart", "good/identical-lzma", "based/exact", "based/lossy",
)  # fmt: skip


@pytest.mark.parametrize("name", BASED)
def test_a_container_against_a_base_decodes_to_the_same_file(name: str, tmp_path: Path) -> None:
    package.decode(GOLDEN / "based" / name, tmp_path / "back.safetensors", base=OLD)
    assert hashlib.sha256((tmp_path / "back.safetensors").read_bytes()).hexdigest() == BASED[name]
    base = reference_base.Base(hashlib.sha256(OLD.read_bytes()).digest(), load_file(OLD))
    by_reference = reference_decoder.decode((GOLDEN / "based" / name).read_bytes(), base)
    for tensor, values in package.open(GOLDEN / "based" / name, base=OLD).items():
        assert np.array_equal(by_reference[tensor].view(values.dtype), values)


def test_a_folder_decodes_to_the_same_files(tmp_path: Path) -> None:
    package.decode(GOLDEN / "folder", tmp_path / "back")
    found = {path.relative_to(tmp_path / "back").as_posix(): path for path in (tmp_path / "back").rglob("*.*")}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()} == FOLDER


def test_a_folder_with_unusual_names_decodes_to_the_same_files_and_folders(tmp_path: Path) -> None:
    package.decode(GOLDEN / "numbered", tmp_path / "back")
    expected = json.loads((GOLDEN / "numbered.json").read_text())
    assert {name: digest.hex() for name, digest in contents(tmp_path / "back").items()} == expected
    assert list((tmp_path / "back" / "assets").iterdir()) == []


def damage(whole: bytes, chance: random.Random) -> bytes:
    """The file with one bit flipped, truncated, or with an additional byte."""
    kind, at = chance.random(), chance.randrange(len(whole))
    if kind < 0.7:
        return whole[:at] + bytes((whole[at] ^ 1 << chance.randrange(8),)) + whole[at + 1 :]
    return whole[:at] if kind < 0.99 else whole + b"\0"


@pytest.mark.parametrize("name", SINGLE)
def test_randomly_damaged_containers_are_refused(name: str, tmp_path: Path) -> None:
    whole, chance, source = (GOLDEN / f"{name}.wcz").read_bytes(), random.Random(name), tmp_path / "x.wcz"
    base = OLD if name.startswith("based") else None
    for _ in range(ATTACKS):
        source.write_bytes(damage(whole, chance))
        with pytest.raises(ContainerError):
            package.decode(source, tmp_path / "out", base=base, threads=1)
        assert [path.name for path in tmp_path.iterdir()] == ["x.wcz"]


@pytest.mark.parametrize("name", ["folder", "numbered"])
def test_randomly_damaged_folders_are_refused(name: str, tmp_path: Path) -> None:
    packed, chance = tmp_path / "m", random.Random(0)
    shutil.copytree(GOLDEN / name, packed)
    parts = sorted(packed.rglob("*.wcz"))
    for number in range(ATTACKS):
        part = parts[number % len(parts)]
        whole = part.read_bytes()
        if chance.random() < 0.02:
            part.unlink()
        else:
            part.write_bytes(damage(whole, chance))
        with pytest.raises(ContainerError):
            package.verify(packed) if number % 10 else package.decode(packed, tmp_path / "out")
        part.write_bytes(whole)
        assert [path.name for path in tmp_path.iterdir()] == ["m"]
