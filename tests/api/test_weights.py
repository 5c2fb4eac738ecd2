"""Single tensors of a .wcz, by name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import wcodec


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(3)
    target = tmp_path_factory.mktemp("packed") / "m.wcz"
    names = [f"encoder.layer.{number}.{kind}" for number in (0, 1, 10) for kind in ("weight", "bias")]
    wcodec.encode({name: random.normal(size=(30, 20)).astype(np.float32) for name in names}, target)
    return target


def test_shapes_and_types_are_read_without_decoding(packed: Path) -> None:
    with wcodec.open(packed) as weights:
        assert set(weights.shapes().values()) == {(30, 20)}
        assert weights.dtypes()["encoder.layer.0.weight"] == "float32"
        assert len(weights) == 6


def test_any_unambiguous_end_of_a_name_finds_its_tensor(packed: Path) -> None:
    with wcodec.open(packed, threads=2) as weights:
        np.testing.assert_array_equal(weights["layer.10.weight"], weights["encoder.layer.10.weight"])
        np.testing.assert_array_equal(weights["1.bias"], wcodec.load(packed)["encoder.layer.1.bias"])
        with pytest.raises(KeyError, match=r"expected one tensor 'weight', found encoder.layer.0.weight, "):
            _ = weights["weight"]


def test_the_error_of_an_unknown_name_has_the_nearest_names(packed: Path) -> None:
    with pytest.raises(KeyError, match=r"expected a tensor .*, the nearest are encoder.layer.1.weight"):
        _ = wcodec.open(packed)["encoder.layer.1.weigth"]


def test_a_closed_container_cannot_be_read(packed: Path) -> None:
    with wcodec.open(packed.read_bytes()) as weights:
        assert weights["0.bias"].shape == (30, 20)
    with pytest.raises(ValueError, match="is closed"):
        _ = weights["0.bias"]


def test_bfloat16_without_ml_dtypes_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    import ml_dtypes

    from wcodec.modelfiles import arrays

    values = np.arange(600).reshape(30, 20).astype(ml_dtypes.bfloat16)
    coded = wcodec.encode({"w": values}, lossless=True)
    monkeypatch.setattr(arrays, "_list_ml_dtypes", dict)
    decoded = wcodec.load(coded)["w"]
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, values.astype(np.float32))
    np.testing.assert_array_equal(wcodec.open(coded).stored("w"), values.view(np.uint16))


def test_an_inspection_is_printed_as_a_table_and_has_dataclass_records(packed: Path) -> None:
    numbers = wcodec.inspect(packed)
    assert numbers.ratio == numbers.source_bytes / packed.stat().st_size
    lines = str(numbers).splitlines()
    assert lines[0].split() == ["tensor", "shape", "type", "kept", "bits/weight", "bytes", "ratio", "error"]
    assert len({len(line) for line in lines[:7]}) == 1
    assert "<table" in numbers._repr_html_()
    assert "encoder.layer.10.bias" in numbers._repr_html_()
    records = [asdict(tensor) for tensor in numbers.tensors]  # as pandas reads a sequence of dataclasses
    assert records[0]["name"] == "encoder.layer.0.weight"
    assert records[0]["shape"] == (30, 20)
