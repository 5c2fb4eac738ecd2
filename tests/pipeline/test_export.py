"""Single arrays, and conversion of tensors to another kind of file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.small_models import WRITERS, encode_small, two_layers, weights, write_safetensors
from conftest import Run
from round_trips import assert_identical
from safetensors.numpy import load_file

from wcodec.errors import ModelFileError
from wcodec.pipeline.decoder import decode, open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "safetensors"])
@pytest.mark.parametrize("words", [{"lossless": True}, {"bits": 4}], ids=str)
def test_tensors_are_converted_to_safetensors(kind: str, words: dict[str, object], tmp_path: Path) -> None:
    packed = encode_small(tmp_path, kind, two_layers(), **words)
    decode(packed, tmp_path / "out.safetensors")
    found = load_file(tmp_path / "out.safetensors")
    with open_container(packed) as opened:
        assert set(found) == set(opened.names()) == set(two_layers())
        assert all(np.array_equal(found[name], opened[name]) for name in found)


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "npz"])
def test_tensors_are_converted_to_npz(kind: str, tmp_path: Path) -> None:
    packed = encode_small(tmp_path, kind, two_layers(), lossless=True)
    decode(packed, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        assert all(np.array_equal(found[name], values) for name, values in two_layers().items())


def test_types_are_converted_if_the_kind_has_them(tmp_path: Path) -> None:
    bits = (weights(1, 20, 30).view(np.uint32) >> 16).astype(np.uint16)
    source = write_safetensors(tmp_path / "m.safetensors", {"w": bits}, frozenset({"w"}))
    encode(source, tmp_path / "m.wcz", parse_recipe({"lossless": True}))
    decode(tmp_path / "m.wcz", tmp_path / "wide.npz")
    with np.load(tmp_path / "wide.npz") as found:
        assert np.array_equal(found["w"].view(np.uint32) >> 16, bits)
    np.savez(tmp_path / "c.npz", c=np.ones(3, np.complex128))
    encode(tmp_path / "c.npz", tmp_path / "c.wcz", parse_recipe({}))
    with pytest.raises(ModelFileError, match="complex128"):
        decode(tmp_path / "c.wcz", tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_a_file_with_the_suffix_of_another_kind_is_restored(wcodec: Run, tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "m.npz", {"w": weights(1, 30, 20)})
    before = source.read_bytes()
    assert wcodec("encode", source, "--lossless").returncode == 0
    source.unlink()
    assert wcodec("decode", tmp_path / "m.npz.wcz").returncode == 0
    assert source.read_bytes() == before


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i4"])
def test_a_single_array_is_a_model_of_one_tensor(dtype: str, order: str, tmp_path: Path) -> None:
    values = np.asarray(weights(1, 60, 40) * 100, dtype, order=order)
    np.save(tmp_path / "m.npy", values)
    with open_container(assert_identical(tmp_path / "m.npy")) as opened:
        assert np.array_equal(opened["array"], values)
    encode(tmp_path / "m.npy", tmp_path / "lossy.wcz", parse_recipe({"bits": 6}))
    decode(tmp_path / "lossy.wcz", tmp_path / "back.npy")
    back = np.load(tmp_path / "back.npy")
    assert (back.dtype, back.flags.f_contiguous) == (values.dtype, values.flags.f_contiguous)
    assert np.abs(back.astype(float) - values).max() < 0.2 * np.abs(values).max()
    assert np.array_equal(back, values) == (dtype == "<i4")


def test_the_command_converts_by_the_name_of_the_output(wcodec: Run, samples: Path, tmp_path: Path) -> None:
    packed = tmp_path / "m.wcz"
    assert wcodec("encode", samples / "tutorial_cnn.h5", "-o", packed).returncode == 0
    assert wcodec("decode", packed, "-o", tmp_path / "out.safetensors").returncode == 0
    with open_container(packed) as opened:
        assert set(load_file(tmp_path / "out.safetensors")) == set(opened.names())
    refused = wcodec("decode", packed, "-o", tmp_path / "out.keras")
    assert (refused.returncode, ".h5" in refused.stderr) == (2, True)
    assert not (tmp_path / "out.keras").exists()


@pytest.mark.parametrize(
    ("head", "advice"), [(b"GGUF\3\0\0\0", "safetensors"), (b"\x1c\0\0\0TFL3", "Keras model"), (b"x\x9c", "joblib")]
)
def test_unsupported_formats_are_refused_with_advice(head: bytes, advice: str, wcodec: Run, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(head)
    done = wcodec("encode", tmp_path / "model")
    assert (done.returncode, advice in done.stderr) == (5, True)
    assert wcodec("encode", tmp_path / "model", "--lossless").returncode == 0
