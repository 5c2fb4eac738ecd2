"""The verbs in Python, as the README shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wcodec


def test_every_public_name_is_there() -> None:
    assert all(getattr(wcodec, name) is not None for name in wcodec.__all__)
    assert dir(wcodec) == sorted(wcodec.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = wcodec.nothing_of_the_kind


def test_a_model_goes_there_and_back(samples: Path, tmp_path: Path) -> None:
    packed, restored = tmp_path / "m.wcz", tmp_path / "m.h5"
    rule = {"conv2d_1": {"bits": 8, "sparsity": 0}}
    numbers = wcodec.encode(samples / "tutorial_cnn.h5", str(packed), bits=4, sparsity=0.9, set=rule, threads=1)
    assert numbers == wcodec.inspect(packed)
    assert numbers.parts.total() == numbers.file_bytes == packed.stat().st_size
    kept = {tensor.name: tensor.kept for tensor in numbers.tensors if tensor.weights > 1000}
    assert all(count is not None and count < 0.11 * wcodec.open(packed)[name].size for name, count in kept.items())
    wcodec.verify(packed)
    wcodec.decode(packed, restored)
    assert wcodec.inspect(restored).tensor_bytes == numbers.tensor_bytes


def test_tensors_are_found_by_name_or_its_end(coded: Path) -> None:
    weights = wcodec.open(coded)
    name = next(iter(weights))
    assert len(weights) == len(list(weights))
    np.testing.assert_array_equal(weights[name], weights[name.split("/", 1)[1]])
    with pytest.raises(KeyError, match="expected a tensor 'nope'"):
        _ = weights["nope"]
    with pytest.raises(KeyError, match="expected one tensor 'kernel'"):
        _ = weights["kernel"]


def test_a_word_that_nobody_knows_is_refused(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(wcodec.RecipeError, match=r"'bitz': expected an option of encode; did you mean bits\?"):
        wcodec.encode(samples / "tutorial_cnn.h5", tmp_path / "m.wcz", bitz=4)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_source_is_a_file_not_found(tmp_path: Path) -> None:
    missing, target = tmp_path / "missing.h5", tmp_path / "m.wcz"
    for call in (
        lambda: wcodec.encode(missing, target),
        lambda: wcodec.decode(str(missing), target),
        lambda: wcodec.verify(missing),
        lambda: wcodec.inspect(missing),
        lambda: wcodec.open(missing),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            call()
        assert caught.value.filename == str(missing)
    assert not target.exists()


def test_what_is_read_is_never_written_over(tmp_path: Path) -> None:
    source, coded, link = tmp_path / "m.npz", tmp_path / "m.wcz", tmp_path / "link.npz"
    np.savez(source, w=np.ones((20, 10), np.float32))
    link.symlink_to(source)
    before = source.read_bytes()
    wcodec.encode(source, coded, lossless=True)
    packed = coded.read_bytes()
    for target in (source, link):
        with pytest.raises(wcodec.WcodecError, match="expected another output"):
            wcodec.encode(source, target)
        with pytest.raises(wcodec.WcodecError, match="expected another output"):
            wcodec.decode(coded, target, base=source)
    with pytest.raises(wcodec.WcodecError, match="expected another output"):
        wcodec.decode(coded, coded)
    assert (source.read_bytes(), coded.read_bytes()) == (before, packed)


def test_a_folder_that_does_not_exist_is_named_and_not_a_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "m.wcz"
    with pytest.raises(FileNotFoundError, match="the folder does not exist") as caught:
        wcodec.encode({"a": np.zeros((4, 4), np.float32)}, target)
    assert caught.value.filename == str(target.parent)
