"""A model in shards has the same steps, and thus about the same loss and bytes, as in one file."""

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
    """The tensors of a network with layers of several sizes."""
    tensors: Arrays = {}
    for i in range(COUNT):
        tensors[f"l{i}.weight"] = weights(i, 64 + 90 * (i == 0), 96) * np.float32(1 + i)
        tensors[f"l{i}.norm.weight"] = 1 + weights(100 + i, 96)
    return tensors


def write_shards(folder: Path, named: bool = True) -> Path:
    """Write the tensors of `arrays`, one file for each layer."""
    folder.mkdir()
    for i in range(COUNT):
        own = {name: array for name, array in arrays().items() if name.startswith(f"l{i}.")}
        name = f"model-{i + 1:05}-of-{COUNT:05}" if named else f"model{'abcdef'[i]}"
        write_safetensors(folder / f"{name}.safetensors", own)
    (folder / "config.json").write_text("{}")
    return folder


def squared_error(packed: Path) -> float:
    """The relative squared error of all matrices."""
    opened, original = wcodec.open(packed), {n: a for n, a in arrays().items() if a.ndim > 1}
    lost = sum(float(np.square(opened[n].astype(np.float64) - a).sum()) for n, a in original.items())
    return lost / sum(float(np.square(a.astype(np.float64)).sum()) for a in original.values())


@pytest.mark.parametrize("words", [{}, {"effort": "fast"}, {"preset": "small"}])
def test_shards_and_one_file_have_the_same_loss_and_bytes(words: dict[str, str], tmp_path: Path) -> None:
    one = wcodec.encode(write_safetensors(tmp_path / "m.safetensors", arrays()), tmp_path / "one.wcz", **words)
    several = wcodec.encode(write_shards(tmp_path / "m"), tmp_path / "several.wcz", **words)
    first, second = squared_error(tmp_path / "one.wcz"), squared_error(tmp_path / "several.wcz")
    assert second == pytest.approx(first, rel=0.05)
    assert several.relative_error == pytest.approx(one.relative_error, rel=0.05)
    sizes = [sum(tensor.bytes for tensor in numbers.tensors) for numbers in (one, several)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_workers_and_one_process_give_the_same_bytes(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m")
    wcodec.encode(folder, tmp_path / "alone")
    with ThreadPoolExecutor(2) as executor:
        wcodec.encode(folder, tmp_path / "pool", executor=executor)
    assert contents(tmp_path / "pool") == contents(tmp_path / "alone")


def test_only_files_named_as_shards_are_one_model(tmp_path: Path) -> None:
    found = folder_of(write_shards(tmp_path / "m", named=False))
    assert found
    assert len({file.model for file in found.files}) == COUNT + 1
    again = folder_of(write_shards(tmp_path / "n"))
    assert again
    assert {file.model for file in again.files} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("words", [{"target_size": "28kB"}, {"target_ratio": 6}, {"max_error": 1e-3}])
def test_a_budget_holds_for_all_shards_together(words: dict[str, object], tmp_path: Path) -> None:
    one = wcodec.encode(write_safetensors(tmp_path / "m.safetensors", arrays()), tmp_path / "one.wcz", **words)
    folder = write_shards(tmp_path / "m")
    several = wcodec.encode(folder, tmp_path / "several.wcz", **words)
    sizes = [sum(tensor.bytes for tensor in numbers.tensors) for numbers in (one, several)]
    lost = [squared_error(tmp_path / name) for name in ("one.wcz", "several.wcz")]
    if "max_error" in words:
        assert 0.97e-3 <= lost[1] <= 1e-3
        assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    else:
        written = sum(path.stat().st_size for path in (tmp_path / "several.wcz").iterdir())
        source = sum(path.stat().st_size for path in folder.iterdir())
        bound = 28_000 if "target_size" in words else source / 6
        assert 0.985 * bound <= written <= bound
        assert written == several.file_bytes
        # The overhead of the parts reduces the bits of the tensors; a bit less is 6 dB more error.
        bits = 8 * (sizes[0] - sizes[1]) / sum(array.size for array in arrays().values())
        assert lost[1] == pytest.approx(lost[0] * 4**bits, rel=0.08)
    with ThreadPoolExecutor(2) as executor:
        wcodec.encode(folder, tmp_path / "pool", executor=executor, **words)
    assert contents(tmp_path / "pool") == contents(tmp_path / "several.wcz")


def test_large_shards_and_one_file_have_the_same_error_within_a_budget_of_bytes(tmp_path: Path) -> None:
    parts = [{f"l{i}.weight": weights(i, 520, 512) * np.float32(1 + i)} for i in range(3)]
    folder = tmp_path / "m"
    folder.mkdir()
    for i, part in enumerate(parts):
        shard = write_safetensors(folder / f"model-{i + 1:05}-of-00003.safetensors", part)
        assert shard.stat().st_size > 1 << 20
    whole = {name: array for part in parts for name, array in part.items()}
    words: dict[str, object] = {"target_size": "400kB", "effort": "fast"}
    one = wcodec.encode(write_safetensors(tmp_path / "m.safetensors", whole), tmp_path / "one.wcz", **words)
    several = wcodec.encode(folder, tmp_path / "several.wcz", **words)
    assert several.file_bytes == pytest.approx(one.file_bytes, rel=0.01)
    assert several.relative_error == pytest.approx(one.relative_error, rel=0.05)


def test_one_threshold_prunes_all_shards(tmp_path: Path) -> None:
    words = {"sparsity": 0.7, "global_sparsity": True}
    wcodec.encode(write_safetensors(tmp_path / "m.safetensors", arrays()), tmp_path / "one.wcz", **words)
    wcodec.encode(write_shards(tmp_path / "m"), tmp_path / "several.wcz", **words)
    one, several = (wcodec.open(tmp_path / name) for name in ("one.wcz", "several.wcz"))
    for name in (name for name, array in arrays().items() if array.ndim > 1):
        np.testing.assert_array_equal(one[name] == 0, several[name] == 0)


def test_scales_with_codes_in_another_shard_are_exact(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m")
    scales, codes = weights(7, 24, 8), np.arange(24 * 64, dtype=np.uint8).reshape(24, 64)
    write_safetensors(folder / "model-00001-of-00002.safetensors", {"q.weight_packed": codes})
    write_safetensors(folder / "model-00002-of-00002.safetensors", {"q.weight_scale": scales})
    wcodec.encode(folder, tmp_path / "several.wcz")
    np.testing.assert_array_equal(wcodec.open(tmp_path / "several.wcz")["q.weight_scale"], scales)


def test_a_budget_out_of_reach_of_shards_leaves_no_files(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m")
    (folder / "inner").mkdir()
    (folder / "inner" / "notes.bin").write_bytes(b"notes" * 50)
    with pytest.raises(wcodec.BudgetError, match=r"file bytes: expected at most 200, got \d+ at best"):
        wcodec.encode(folder, tmp_path / "out", target_size="200B")
    assert not (tmp_path / "out").exists()
    (folder / "model-00002-of-00006.safetensors").unlink()
    one = tmp_path / "one"
    one.mkdir()
    (folder / "model-00001-of-00006.safetensors").rename(one / "model.safetensors")
    (one / "config.json").write_text("{}" * 100)
    with pytest.raises(wcodec.BudgetError, match="expected at most 300, got"):
        wcodec.encode(one, tmp_path / "out", target_size="300B")
    assert not (tmp_path / "out").exists()
    assert 9_850 < wcodec.encode(one, tmp_path / "out", target_size="10kB").file_bytes <= 10_000
