"""One model in shards: the same steps, and so the same loss in as many bytes, as in one file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from attack.small_models import weights, write_safetensors
from round_trips import contents

import wcodec
from wcodec.modelfiles.shards import folder_of

Arrays = dict[str, npt.NDArray[np.generic]]
COUNT = 6


def arrays() -> Arrays:
    """The tensors of a network of layers of several sizes."""
    found: Arrays = {}
    for i in range(COUNT):
        found[f"l{i}.weight"] = weights(i, 64 + 90 * (i == 0), 96) * np.float32(1 + i)
        found[f"l{i}.norm.weight"] = 1 + weights(100 + i, 96)
    return found


def shards(folder: Path, named: bool = True) -> Path:
    """The same, a layer a file."""
    folder.mkdir()
    for i in range(COUNT):
        own = {name: array for name, array in arrays().items() if name.startswith(f"l{i}.")}
        name = f"model-{i + 1:05}-of-{COUNT:05}" if named else f"model{'abcdef'[i]}"
        write_safetensors(folder / f"{name}.safetensors", own)
    (folder / "config.json").write_text("{}")
    return folder


def squared_error(packed: Path) -> float:
    """Relative, over all matrices."""
    opened, original = wcodec.open(packed), {n: a for n, a in arrays().items() if a.ndim > 1}
    lost = sum(float(np.square(opened[n].astype(np.float64) - a).sum()) for n, a in original.items())
    return lost / sum(float(np.square(a.astype(np.float64)).sum()) for a in original.values())


@pytest.mark.parametrize("words", [{}, {"effort": "fast"}, {"preset": "small"}])
def test_shards_lose_what_one_file_loses(words: dict[str, str], tmp_path: Path) -> None:
    one = wcodec.encode(write_safetensors(tmp_path / "m.safetensors", arrays()), tmp_path / "one.wcz", **words)
    several = wcodec.encode(shards(tmp_path / "m"), tmp_path / "several.wcz", **words)
    first, second = squared_error(tmp_path / "one.wcz"), squared_error(tmp_path / "several.wcz")
    assert second == pytest.approx(first, rel=0.05)
    assert several.relative_error == pytest.approx(one.relative_error, rel=0.05)
    weighed = [sum(tensor.bytes for tensor in numbers.tensors) for numbers in (one, several)]
    assert weighed[1] == pytest.approx(weighed[0], rel=0.01)


def test_workers_and_a_second_attempt_make_the_same_bytes(tmp_path: Path) -> None:
    folder = shards(tmp_path / "m")
    wcodec.encode(folder, tmp_path / "alone")
    with ThreadPoolExecutor(2) as executor:
        wcodec.encode(folder, tmp_path / "pool", executor=executor)
    assert contents(tmp_path / "pool") == contents(tmp_path / "alone")


def test_files_of_other_models_are_apart(tmp_path: Path) -> None:
    found = folder_of(shards(tmp_path / "m", named=False))
    assert found
    assert len({file.model for file in found.files}) == COUNT + 1
    again = folder_of(shards(tmp_path / "n"))
    assert again
    assert {file.model for file in again.files} == {"config.json", "model.safetensors"}
