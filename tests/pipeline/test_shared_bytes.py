"""Two versions of a model share the bytes of equal tensors at any offset, for content-defined chunking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights

import wcodec
from wcodec.container.reader import parse, read_section

NAMES = [f"layer{number}/kernel" for number in range(12)]


def sections(path: Path) -> dict[str, bytes]:
    """The bytes of each tensor."""
    with path.open("rb") as file:
        container = parse(file)
        return {
            facts.name: b"".join(read_section(file, section, facts.name) for section in record.sections)
            for facts, record in zip(container.tensors, container.records, strict=True)
        }


@pytest.mark.parametrize(
    ("words", "has_new"),
    [
        ({"lossless": True}, True),
        ({"bits": 4, "sparsity": 0.5}, True),
        ({"step": 0.02}, True),
        ({}, False),
        ({"preset": "small", "effort": "fast"}, False),
    ],
    ids=str,
)
def test_a_changed_tensor_does_not_change_the_bytes_of_others(
    words: dict[str, object], has_new: bool, tmp_path: Path
) -> None:
    before = {name: weights(number, 60, 50) for number, name in enumerate(NAMES)}
    first = {"a/first": weights(98, 33, 21)} if has_new else {}
    after = first | before | {NAMES[0]: weights(99, 60, 50)}
    wcodec.encode(before, tmp_path / "before.wcz", **words)
    wcodec.encode(after, tmp_path / "after.wcz", **words)
    old, new = sections(tmp_path / "before.wcz"), sections(tmp_path / "after.wcz")
    assert [name for name in NAMES if old[name] == new[name]] == NAMES[1:]
    whole = (tmp_path / "after.wcz").read_bytes()
    assert all(old[name] in whole for name in NAMES[1:])


def test_versions_of_a_sample_share_the_bytes_of_unchanged_tensors(samples: Path, tmp_path: Path) -> None:
    tensors = wcodec.load(wcodec.encode(samples / "lenet5.keras", lossless=True))
    changed = min(tensors, key=lambda name: abs(tensors[name].size - 25_000))
    later = tensors | {changed: (tensors[changed] + np.float32(1e-3)).astype(np.float32)}
    wcodec.encode(tensors, tmp_path / "before.wcz")
    wcodec.encode(later, tmp_path / "after.wcz")
    old, new = sections(tmp_path / "before.wcz"), sections(tmp_path / "after.wcz")
    assert [name for name in tensors if old[name] != new[name]] == [changed]
