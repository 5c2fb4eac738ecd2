"""Containers of earlier releases: valid ones decode to the same bits, invalid ones are refused in the same way."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from wcodec import errors
from wcodec.pipeline.decoder import decode, open_container, verify
from wcodec.reporting.inspection import inspect

GOLDEN = ROOT / "formats" / "golden"
GOOD = json.loads((GOLDEN / "good" / "expected.json").read_text())
BAD = json.loads((GOLDEN / "bad" / "expected.json").read_text())

specification = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
assert specification
assert specification.loader
make = importlib.util.module_from_spec(specification)
sys.modules["golden_make"] = make
specification.loader.exec_module(make)


def test_every_golden_file_has_an_expected_result() -> None:
    for folder, expected in (("good", GOOD), ("bad", BAD)):
        assert {path.name for path in (GOLDEN / folder).glob("*.wcz")} == set(expected)
    assert {f"{name}.wcz" for name in make.BAD} == set(BAD)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_container_decodes_to_the_same_bits(name: str, tmp_path: Path) -> None:
    path, expected = GOLDEN / "good" / name, GOOD[name]
    with open_container(path) as opened:
        assert opened.container.kind == expected["kind"]
        assert list(opened.names()) == list(expected["tensors"])
        for facts in opened.container.tensors[: len(expected["tensors"])]:
            tensor = expected["tensors"][facts.name]
            values = opened[facts.name]
            assert (facts.dtype, list(values.shape)) == (tensor["dtype"], tensor["shape"])
            assert hashlib.sha256(values.tobytes()).hexdigest() == tensor["sha256"]
    decode(path, tmp_path / "model", threads=2)
    if "file" in expected:
        assert hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest() == expected["file"]
    numbers = inspect(path)
    assert numbers.parts.total() == path.stat().st_size <= 8000


@pytest.mark.parametrize("name", BAD)
def test_a_bad_container_raises_the_same_error(name: str) -> None:
    with pytest.raises(getattr(errors, BAD[name])) as caught:
        verify(GOLDEN / "bad" / name, threads=1)
    assert caught.type.__name__ == BAD[name]


def test_encoded_models_have_the_pinned_sizes(tmp_path: Path) -> None:
    with (GOLDEN / "sizes.csv").open() as file:
        pinned = {row["model"]: int(row["bytes"]) for row in csv.DictReader(file)}
    sizes = {name: make.encode_model(name, tmp_path).stat().st_size for name in make.MODELS}
    assert sizes == pinned


def test_crafted_containers_equal_those_of_the_generator() -> None:
    for name, content in make.craft().items():
        assert (GOLDEN / "good" / f"{name}.wcz").read_bytes() == content
