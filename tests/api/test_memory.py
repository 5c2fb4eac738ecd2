"""Models in memory: arrays by name, bytes, binary files."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import wcodec
from wcodec.errors import RecipeError

SEED = 17


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(SEED)
    return {
        "layer.0.weight": random.normal(0, 0.05, (64, 48)).astype(np.float32),
        "layer.0.bias": random.normal(0, 0.05, 64).astype(np.float32),
        "layer.1.weight": random.normal(0, 0.05, (32, 64)).astype(ml_dtypes.bfloat16),
        "steps": np.array(7, np.int64),
    }


def test_arrays_are_encoded_to_bytes_and_decoded_exactly_if_lossless() -> None:
    before = arrays()
    coded = wcodec.encode(before, lossless=True)
    assert isinstance(coded, bytes)
    after = wcodec.load(coded)
    assert list(after) == list(before)
    for name, values in before.items():
        assert after[name].dtype == values.dtype
        np.testing.assert_array_equal(after[name], values)


def test_arrays_have_the_requested_bits_and_the_same_bytes_each_time() -> None:
    before = arrays()
    coded = wcodec.encode(before, bits=4)
    assert coded == wcodec.encode(before, bits=4) != wcodec.encode(before)
    after = wcodec.load(coded, threads=2)["layer.0.weight"]
    assert len(np.unique(after)) <= 16
    assert after.shape == (64, 48)


def test_types_without_a_safetensors_type_are_decoded_exactly() -> None:
    before = {"z": np.full((3, 2), 1 + 2j, np.complex128), "big": np.arange(5, dtype=">f4"), "f": np.ones((2, 3)).T}
    after = wcodec.load(wcodec.encode(before, lossless=True))
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)


@pytest.mark.parametrize("value", ["text", object(), [[1], [1, 2]], None, np.array(["a"])])
def test_a_value_that_is_not_an_array_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(wcodec.ModelFileError, match="kernel: expected an array"):
        wcodec.encode({"kernel": value})


def test_files_and_bytes_are_read_and_written(samples: Path, tmp_path: Path) -> None:
    plain = (samples / "tutorial_cnn.h5").read_bytes()
    numbers = wcodec.encode(samples / "tutorial_cnn.h5", tmp_path / "m.wcz", lossless=True)
    coded = wcodec.encode(plain, lossless=True)
    assert coded == (tmp_path / "m.wcz").read_bytes()
    assert wcodec.decode(coded) == wcodec.decode(tmp_path / "m.wcz") == plain
    out, back = io.BytesIO(), io.BytesIO()
    assert wcodec.encode(io.BytesIO(plain), out, lossless=True).file_bytes == numbers.file_bytes == len(out.getvalue())
    out.seek(0)
    assert wcodec.decode(out, back) is None
    assert back.getvalue() == plain
    wcodec.verify(coded)
    assert wcodec.inspect(coded).tensors == numbers.tensors == wcodec.inspect(io.BytesIO(coded)).tensors
    assert wcodec.inspect(plain).tensor_bytes == numbers.tensor_bytes


def test_damaged_bytes_are_refused() -> None:
    coded = bytearray(wcodec.encode(arrays()))
    coded[40] ^= 1
    for call in (wcodec.verify, wcodec.load, wcodec.decode):
        with pytest.raises(wcodec.ContainerError):
            call(bytes(coded))
    with pytest.raises(wcodec.ContainerError):
        wcodec.open(b"no container")


@pytest.mark.parametrize("source", [7, None, [1, 2], io.StringIO("text")])
def test_a_source_of_another_type_is_refused(source: object) -> None:
    with pytest.raises(wcodec.RecipeError, match="source: expected a"):
        wcodec.encode(source)


def test_existing_files_are_not_overwritten_if_force_is_false(tmp_path: Path) -> None:
    target, plain = tmp_path / "m.wcz", tmp_path / "m.safetensors"
    wcodec.encode(arrays(), target, force=False)
    wcodec.decode(target, plain, force=False)
    before = target.read_bytes(), plain.read_bytes()
    calls = (
        lambda: wcodec.encode(arrays(), target, bits=2, force=False),
        lambda: wcodec.decode(target, plain, force=False),
        lambda: wcodec.encode(arrays(), tmp_path / "new.wcz", report=plain, force=False),
    )
    for call in calls:
        with pytest.raises(wcodec.WcodecError, match="exists already, and force=False keeps it"):
            call()
    assert before == (target.read_bytes(), plain.read_bytes())
    wcodec.encode(arrays(), target, bits=2)
    wcodec.decode(target, plain)
    assert target.stat().st_size < len(before[0])


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    numbers = wcodec.encode(arrays(), tmp_path / "m.wcz", dry_run=True)
    assert numbers.file_bytes == len(wcodec.encode(arrays()))
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_written_and_progress_has_an_event_for_each_tensor(tmp_path: Path) -> None:
    events: list[str] = []
    wcodec.encode(
        arrays(), tmp_path / "m.wcz", report=tmp_path / "r.html", progress=lambda event: events.append(str(event))
    )
    assert "<html" in (tmp_path / "r.html").read_text("utf-8")
    assert events == list(arrays())


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    wcodec.encode(arrays(), progress=True)
    assert capsys.readouterr().err.splitlines() == list(arrays())


def test_a_model_of_several_files_needs_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("a", "b"):
        np.savez(folder / f"{name}.npz", w=np.ones((20, 10), np.float32))
    with pytest.raises(wcodec.RecipeError, match="expected a path to write a model of several files to"):
        wcodec.encode(folder)
    with ThreadPoolExecutor(2) as pool:
        wcodec.encode(folder, tmp_path / "model.wcz", executor=pool)
    with pytest.raises(wcodec.WcodecError, match="exists already"):
        wcodec.encode(folder, tmp_path / "model.wcz", force=False)
    with pytest.raises(wcodec.RecipeError, match="expected a path"):
        wcodec.decode(tmp_path / "model.wcz")
    assert len(wcodec.load(tmp_path / "model.wcz")) == 2


@pytest.mark.parametrize("name", ["int4", "uint4", "int2", "float4_e2m1fn", "float6_e2m3fn", "float8_e4m3fnuz", "int1"])
@pytest.mark.parametrize("lossless", [False, True])
def test_types_that_a_model_file_lacks_are_refused_with_the_supported_types(name: str, lossless: bool) -> None:
    kind = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))
    with pytest.raises(RecipeError, match=rf"^q: expected an array of .*bfloat16, float8_e4m3fn.*, got one of {name}$"):
        wcodec.encode({"q": np.zeros((4, 4), np.float32).astype(kind)}, lossless=lossless)


def test_structured_arrays_are_refused() -> None:
    with pytest.raises(RecipeError, match="r: expected an array of "):
        wcodec.encode({"r": np.zeros((4, 4), [("a", "i1")])}, lossless=True)


def test_a_tensor_with_an_empty_name_is_decoded(tmp_path: Path) -> None:
    before = {"": np.ones((30, 40), np.float32) * 0.5, "w": arrays()["layer.0.weight"]}
    coded = tmp_path / "m.safetensors.wcz"
    wcodec.encode(before, coded)
    assert list(wcodec.load(coded)) == ["", "w"]
    with wcodec.open(coded) as opened:
        np.testing.assert_array_equal(opened[""], before[""])
    assert [tensor.name for tensor in wcodec.inspect(coded).tensors] == ["", "w"]
    wcodec.decode(coded, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as converted:
        assert converted.files == ["", "w"]
    wcodec.encode(tmp_path / "m.npz", tmp_path / "n.wcz")
    assert list(wcodec.load(tmp_path / "n.wcz")) == ["", "w"]


def test_an_empty_name_refers_to_no_other_tensor() -> None:
    coded = wcodec.encode({"w.": arrays()["layer.0.weight"]})
    with wcodec.open(coded) as opened, pytest.raises(KeyError, match="expected a tensor ''"):
        opened[""]
