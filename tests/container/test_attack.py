"""Damaged and hostile containers are refused with a clear error, in little time and memory, and leave no files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attack import hostile
from attack.small_models import encode_small, two_layers
from attack.storm import EVERY, Report
from conftest import HANG, ROOT

from wcodec.errors import ContainerError
from wcodec.pipeline.decoder import decode, verify

STORM = ROOT / "tests" / "attack" / "storm.py"
GOLDEN = ROOT / "formats" / "golden" / "good"
HOSTILE = {name: (file, error) for name, file, error in hostile.every()}


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three small containers, of different kinds and recipes."""
    folder = tmp_path_factory.mktemp("containers")
    return {
        "hdf5": encode_small(folder, "hdf5", two_layers(), bits=4, sparsity=0.6),
        "npz": encode_small(folder, "npz", two_layers()),
        "safetensors": encode_small(folder, "safetensors", two_layers(), lossless=True),
    }


def storm(mode: str, *paths: Path) -> Report:
    """Attack the containers in another process, to measure its memory."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, str(STORM), mode, *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=HANG, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return Report(**json.loads(done.stdout))


def assert_cheap(report: Report) -> None:
    assert report.slowest < 20  # CPU seconds, many times those of a valid container
    assert report.peak < 300.0
    assert report.left == []
    assert report.leaks == []


@pytest.mark.parametrize("mode", ["flips", "truncations"])
def test_flipped_bits_and_truncations_are_refused(mode: str, containers: dict[str, Path]) -> None:
    report = storm(mode, *containers.values())
    assert_cheap(report)
    assert report.decoded == []
    assert EVERY * report.attempts >= sum(path.stat().st_size for path in containers.values())


@pytest.mark.parametrize("kind", ["hdf5", "npz", "safetensors"])
def test_modified_metadata_with_correct_checksums_raises_only_container_errors(
    kind: str, containers: dict[str, Path]
) -> None:
    assert_cheap(storm("metadata", containers[kind]))


def test_modified_sections_are_refused_or_decode_to_the_same_values(containers: dict[str, Path]) -> None:
    names = "transform-klt transform-dct states-4 states-4-sparse states-8-dense step-context table-context"
    names += " table-sparse patches float float-offset product rows-of-float32 signs chunks-of-steps chunks-of-rows"
    golden = [GOLDEN / f"{name}.wcz" for name in names.split()]
    report = storm("sections", *containers.values(), *golden)
    assert_cheap(report)
    assert len(report.decoded) < report.attempts / 50, "hardly any change leaves the values as they were"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_container_raises_its_error(name: str, tmp_path: Path) -> None:
    file, error = HOSTILE[name]
    source, target = tmp_path / "hostile.wcz", tmp_path / "model.npz"
    source.write_bytes(file)
    for attempt in (lambda: verify(source, threads=1), lambda: decode(source, target, threads=1)):
        with pytest.raises(ContainerError) as caught:
            attempt()
        assert caught.type is error
        assert len(str(caught.value)) > 15
    assert list(tmp_path.iterdir()) == [source]


def test_the_template_of_hostile_containers_is_valid(tmp_path: Path) -> None:
    source = tmp_path / "good.wcz"
    source.write_bytes(hostile.good().to_bytes())
    assert [facts.name for facts in verify(source).tensors] == ["v"]


def test_all_hostile_containers_take_little_time_and_memory(tmp_path: Path) -> None:
    paths = []
    for name, (file, _) in HOSTILE.items():
        paths.append(tmp_path / f"{name}.wcz")
        paths[-1].write_bytes(file)
    report = storm("as it is", *paths)
    assert_cheap(report)
    assert report.decoded == []


def test_errors_have_the_unknown_id(tmp_path: Path) -> None:
    expected = {
        "future-version": "version 2", "unknown-feature": "feature 9", "unknown-kind-of-model-file": "kind 200",
        "unknown-coding-of-the-model-section": "coding 9", "table-unknown-type": "type 200",
        "head-unknown-rule-9": "rule 9",
        "coder-unknown": "coder 200", "dense-unknown-symbols": "got 9", "lossless-unknown-method": "got 99",
    }  # fmt: skip
    for name, words in expected.items():
        path = tmp_path / name
        path.write_bytes(HOSTILE[name][0])
        with pytest.raises(HOSTILE[name][1], match=words):
            verify(path)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("body-cut", 3),
        ("section-checksum", 3),
        ("digest", 3),
        ("future-version", 5),
        ("coder-unknown", 5),
        ("empty", 3),
    ],
)
def test_the_command_refuses_a_hostile_container_with_one_line_and_its_exit_code(
    name: str, code: int, tmp_path: Path, wcodec: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    source = tmp_path / "hostile.npz.wcz"
    source.write_bytes(HOSTILE[name][0])
    done = wcodec("decode", source)
    assert done.returncode == code
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [source]
