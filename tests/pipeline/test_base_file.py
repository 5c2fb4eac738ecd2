"""Coding against an earlier version: equal tensors take almost no bytes, and decoding needs that version."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import reference_base
import reference_decoder
from attack.file_fields import dissect
from attack.small_models import WRITERS, weights, write_safetensors
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from round_trips import checkpoint, contents

import wcodec as package
from wcodec.codec.delta import RESIDUAL, ULPS, XOR, decode_delta, decode_residual, encode_delta, encode_residual
from wcodec.container.dtypes import from_float, to_float32
from wcodec.errors import ContainerError, CorruptError, RecipeError
from wcodec.model import FLOATS
from wcodec.pipeline.decoder import decode, open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Recipe


def earlier() -> dict[str, np.ndarray]:
    half = weights(3, 40, 50).astype(np.float16)
    return {"a": weights(1, 300, 200), "bias": weights(2, 200), "half": half, "n": np.arange(900).reshape(30, 30)}


def later() -> dict[str, np.ndarray]:
    """The tensors after a little training, with one new tensor and one of another shape."""
    trained = {name: (old + 1e-3 * weights(9, *old.shape)).astype(old.dtype) for name, old in earlier().items()}
    return trained | {"n": earlier()["n"], "new": weights(5, 30, 20), "bias": weights(2, 210)}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_later_version_is_smaller_and_restored_byte_for_byte(kind: str, tmp_path: Path) -> None:
    old, new = (tmp_path / f"{name}.{kind}" for name in ("old", "new"))
    WRITERS[kind](old, earlier())
    WRITERS[kind](new, later())
    old, new = (path if path.exists() else path.with_name(f"{path.name}.npz") for path in (old, new))
    alone = package.encode(new, tmp_path / "alone.wcz", lossless=True).file_bytes
    assert package.encode(new, tmp_path / "m.wcz", base=old, lossless=True).file_bytes < 0.85 * alone
    package.decode(tmp_path / "m.wcz", tmp_path / "back", base=old)
    assert (tmp_path / "back").read_bytes() == new.read_bytes()
    package.verify(tmp_path / "m.wcz", base=old)
    assert package.open(tmp_path / "m.wcz", base=old)["a"].tobytes() == later()["a"].tobytes()


def test_unchanged_tensors_take_almost_no_bytes(tmp_path: Path) -> None:
    old = write_safetensors(tmp_path / "old.safetensors", {"w": weights(1, 900, 900)})
    (tmp_path / "new.safetensors").write_bytes(old.read_bytes())
    for words in ({"lossless": True}, {}):
        assert package.encode(tmp_path / "new.safetensors", tmp_path / "m.wcz", base=old, **words).file_bytes < 500


@pytest.mark.parametrize("words", [{}, {"bits": 4}, {"max_error": 1e-4}, {"preset": "small"}], ids=str)
def test_lossy_differences_are_smaller_without_a_larger_error(words: dict[str, object], tmp_path: Path) -> None:
    old = write_safetensors(tmp_path / "old.safetensors", earlier())
    new = write_safetensors(tmp_path / "new.safetensors", later())
    alone = package.encode(new, tmp_path / "alone.wcz", **words)
    numbers = package.encode(new, tmp_path / "m.wcz", base=old, **words)
    assert numbers.file_bytes < alone.file_bytes
    assert numbers.relative_error <= alone.relative_error * 1.02
    opened = package.open(tmp_path / "m.wcz", base=old)
    error = energy = 0.0
    for name, values in later().items():
        if values.dtype.kind == "f" and values.ndim > 1:
            exact = values.astype(np.float64)
            error, energy = error + np.square(opened[name] - exact).sum(), energy + np.square(exact).sum()
    assert error / energy <= numbers.relative_error * 1.01 + 1e-7
    decode(tmp_path / "m.wcz", tmp_path / "1", base=old, threads=1)
    decode(tmp_path / "m.wcz", tmp_path / "2", base=old, threads=2)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_note_has_the_fraction_of_the_difference_that_is_lost(tmp_path: Path) -> None:
    """The steps of the preset follow from the weights, and a small difference is below them."""
    old = write_safetensors(tmp_path / "old.safetensors", earlier())
    new = write_safetensors(tmp_path / "new.safetensors", later())
    change = {name: later()[name].astype(np.float64) - earlier()[name] for name in ("a", "half")}
    notes = encode(new, tmp_path / "m.wcz", Recipe(), base=old).notes
    opened = package.open(tmp_path / "m.wcz", base=old)
    lost = sum(np.square(opened[name] - later()[name].astype(np.float64)).sum() for name in change)
    percent = round(100 * lost / sum(np.square(difference).sum() for difference in change.values()))
    assert percent > 50
    assert [note.partition(" of")[0] for note in notes] == [f"{percent} %"]
    assert encode(new, tmp_path / "n.wcz", Recipe(max_error=1e-8), base=old).notes == ()


def test_an_unrelated_base_does_not_make_the_file_larger(tmp_path: Path) -> None:
    old = write_safetensors(tmp_path / "old.safetensors", {"w": weights(7, 200, 300), "v": weights(8, 90)})
    new = write_safetensors(tmp_path / "new.safetensors", {"w": weights(1, 200, 300), "v": weights(2, 90)})
    for words in ({"lossless": True}, {}, {"bits": 4}):
        alone = package.encode(new, tmp_path / "alone.wcz", **words).file_bytes
        assert package.encode(new, tmp_path / "m.wcz", base=old, **words).file_bytes <= alone + 48
    (tmp_path / "words").write_text("no model")
    package.encode(new, tmp_path / "m.wcz", base=tmp_path / "words", lossless=True)
    package.decode(tmp_path / "m.wcz", tmp_path / "back")
    with pytest.raises(FileNotFoundError, match="missing"):
        package.encode(new, tmp_path / "m.wcz", base=tmp_path / "missing", lossless=True)


def test_decoding_without_the_base_or_with_another_is_refused_with_its_digest(wcodec: Run, tmp_path: Path) -> None:
    old = write_safetensors(tmp_path / "old.safetensors", earlier())
    new = write_safetensors(tmp_path / "new.safetensors", later())
    for words in (["--lossless"], []):
        packed = tmp_path / "m.wcz"
        assert wcodec("encode", new, "-o", packed, "-f", "--base", old, *words).returncode == 0
        for verb in (["decode", packed, "-o", tmp_path / "back"], ["verify", packed]):
            for given_base in ([], ["--base", new]):
                done = wcodec(*verb, *given_base)
                assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
                with open_container(packed) as opened:
                    assert opened.container.base
                    assert opened.container.base.hex() in done.stderr
            assert wcodec(*verb, "--base", old).returncode == 0
        (tmp_path / "back").unlink()
        assert wcodec("decode", packed, "--tensor", "a", "-o", tmp_path / "b.npy").returncode == 2
        assert wcodec("decode", packed, "--tensor", "a", "-o", tmp_path / "a.npy", "--base", old, "-f").returncode == 0
        assert wcodec("inspect", packed).returncode == 0
    with pytest.raises(RecipeError, match="SHA-256"):
        package.open(tmp_path / "m.wcz", base=new)["a"]


def test_a_folder_can_be_the_base_of_a_folder(tmp_path: Path) -> None:
    checkpoint(tmp_path / "old")
    checkpoint(tmp_path / "new")
    (tmp_path / "new" / "more.txt").write_text("more")
    numbers = package.encode(tmp_path / "new", tmp_path / "out", base=tmp_path / "old", lossless=True)
    assert numbers.file_bytes < 4000
    package.decode(tmp_path / "out", tmp_path / "back", base=tmp_path / "old")
    assert contents(tmp_path / "back") == contents(tmp_path / "new")
    opened = package.open(tmp_path / "out", base=tmp_path / "old")
    assert np.array_equal(opened["layers.1.b.weight"], weights(11, 80, 60))
    with pytest.raises(RecipeError, match="expected base with the file"):
        package.decode(tmp_path / "out", tmp_path / "other")


TYPES = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "float64": "<f8", "int8": "i1", "uint64": "<u8"}
TYPES |= {"complex128": "<c16", "bool": "?", "float8_e4m3": "u1", "bytes2": "<u2"}


@given(st.data(), st.sampled_from(sorted(TYPES)), st.sampled_from([XOR, ULPS]))
def test_deltas_of_arbitrary_bits_are_inverted(data: st.DataObject, dtype: str, way: int) -> None:
    size = np.dtype(TYPES[dtype]).itemsize
    new, old = (data.draw(arrays_of.arrays(np.uint8, 6 * size)) for _ in range(2))
    if dtype == "bool":
        new, old = new & 1, old & 1
    values = new.view(TYPES[dtype])
    words = encode_delta(way, values, old.view(TYPES[dtype]), dtype)
    assert decode_delta(way, words, old.view(TYPES[dtype]), dtype).tobytes() == values.tobytes()


def special_floats(dtype: str) -> np.ndarray:
    """Numbers of every magnitude and sign, infinities and NaN."""
    rng = np.random.default_rng(3)
    values = (rng.standard_normal(400) * 10.0 ** rng.integers(-9, 9, 400)).astype(np.float32)
    values[:60] = np.tile(np.float32([0, -0.0, np.nan, np.inf, -np.inf, 1e-45]), 10)
    with np.errstate(over="ignore"):
        return from_float(rng.permutation(values), dtype)


@pytest.mark.parametrize("dtype", sorted(FLOATS))
def test_residuals_of_arbitrary_floats_are_finite_and_inverted(dtype: str) -> None:
    base = special_floats(dtype)
    near = from_float(to_float32(base, dtype) * np.float32(1.01), dtype)
    for new in (base[::-1].copy(), np.roll(base, 7), base, near):
        more, steps = encode_residual(new, base, dtype)
        assert np.isfinite(to_float32(more, dtype)).all()
        assert decode_residual(more, steps, base, dtype).tobytes() == new.tobytes()


def test_small_changes_are_coded_as_residuals(tmp_path: Path) -> None:
    old, pace = weights(1, 200, 150), np.float32(10) ** np.linspace(-5, -1, 200, dtype=np.float32)[:, None]
    arrays = {"w": old + pace * weights(2, 200, 150), "d": (old + 1e-4 * weights(3, 200, 150)).astype(np.float64)}
    base = write_safetensors(tmp_path / "old.safetensors", {"w": old, "d": old.astype(np.float64)})
    new = write_safetensors(tmp_path / "new.safetensors", arrays)
    package.encode(new, tmp_path / "m.wcz", base=base, lossless=True)
    fields = dissect((tmp_path / "m.wcz").read_bytes())
    assert [entry.sections[0][1] for entry in fields.entries] == [RESIDUAL, RESIDUAL]
    package.decode(tmp_path / "m.wcz", tmp_path / "back", base=base)
    assert (tmp_path / "back").read_bytes() == new.read_bytes()
    for cut in (2, 3, 40):  # wrong lengths of the first payload
        section = fields.entries[0].sections[0]
        (tmp_path / "bad.wcz").write_bytes(fields.with_section(0, 0, section[:cut]).to_bytes())
        with pytest.raises(ContainerError):
            package.verify(tmp_path / "bad.wcz", base=base)


@pytest.mark.parametrize("dtype", ["int32", "complex128", "uint8"])
def test_residuals_of_other_types_than_floats_are_refused(dtype: str, tmp_path: Path) -> None:
    old = np.arange(600).reshape(30, 20).astype(dtype)
    for name, array in (("old", old), ("new", old + old.dtype.type(1))):
        np.savez(tmp_path / f"{name}.npz", w=array)
    package.encode(tmp_path / "new.npz", tmp_path / "m.wcz", base=tmp_path / "old.npz", lossless=True)
    fields = dissect((tmp_path / "m.wcz").read_bytes())
    section = fields.entries[0].sections[0]
    assert section[1] in {XOR, ULPS}
    hostile = section[:1] + bytes((RESIDUAL, len(section) - 2)) + section[2:] * 2
    (tmp_path / "m.wcz").write_bytes(fields.with_section(0, 0, hostile).to_bytes())
    with pytest.raises(CorruptError, match="expected floats"):
        package.verify(tmp_path / "m.wcz", base=tmp_path / "old.npz")


def test_the_reference_decoder_decodes_files_with_a_base(tmp_path: Path) -> None:
    old, new = earlier(), later()
    brain, other = ((weights(seed, 20, 30).view(np.uint32) >> 16).astype(np.uint16) for seed in (1, 2))
    old |= {"brain": brain, "c": np.arange(6, dtype=np.int8)}
    new |= {"brain": brain ^ (other & 3), "c": np.arange(6, dtype=np.int8)[::-1].copy()}
    for arrays, name in ((old, "old"), (new, "new")):
        write_safetensors(tmp_path / f"{name}.safetensors", arrays, frozenset({"brain"}))
    base = reference_base.Base(hashlib.sha256((tmp_path / "old.safetensors").read_bytes()).digest(), old)
    for words in ({"lossless": True}, {}, {"bits": 3}):
        package.encode(tmp_path / "new.safetensors", tmp_path / "m.wcz", base=tmp_path / "old.safetensors", **words)
        found = reference_decoder.decode((tmp_path / "m.wcz").read_bytes(), base)
        opened = package.open(tmp_path / "m.wcz", base=tmp_path / "old.safetensors")
        assert all(found[name].tobytes() == opened[name].tobytes() for name in opened)
        with pytest.raises(reference_decoder.CorruptError, match="SHA-256"):
            reference_decoder.decode((tmp_path / "m.wcz").read_bytes())


def test_damaged_files_with_a_base_are_refused(tmp_path: Path) -> None:
    old = write_safetensors(tmp_path / "old.safetensors", {"w": weights(1, 12, 9), "v": weights(2, 30)})
    new = write_safetensors(tmp_path / "new.safetensors", {"w": weights(1, 12, 9) + 1, "v": weights(2, 30)})
    rng = np.random.default_rng(1)
    for words in ({"lossless": True}, {"bits": 4}):
        package.encode(new, tmp_path / "m.wcz", base=old, **words)
        whole = (tmp_path / "m.wcz").read_bytes()
        for attempt in range(500):
            damaged = bytearray(whole)
            damaged[attempt % len(whole)] ^= 1 << int(rng.integers(8))
            if attempt % 5 == 0:
                damaged = damaged[: int(rng.integers(len(whole)))]
            (tmp_path / "x.wcz").write_bytes(damaged)
            with pytest.raises(ContainerError):
                decode(tmp_path / "x.wcz", tmp_path / "out", base=old, threads=1)
    assert not (tmp_path / "out").exists()


def test_unknown_codings_of_the_difference_are_refused(tmp_path: Path) -> None:
    old = write_safetensors(tmp_path / "old.safetensors", {"w": weights(1, 12, 9)})
    new = write_safetensors(tmp_path / "new.safetensors", {"w": weights(1, 12, 9)})
    package.encode(new, tmp_path / "m.wcz", base=old, lossless=True)
    fields = dissect((tmp_path / "m.wcz").read_bytes())
    for way in (2, 3, 255):
        skeleton = fields.skeleton[:32] + bytes((way,)) + fields.skeleton[33:]
        (tmp_path / "x.wcz").write_bytes(type(fields)(**vars(fields) | {"skeleton": skeleton}).to_bytes())
        with pytest.raises(ContainerError):
            decode(tmp_path / "x.wcz", tmp_path / "out", base=old)
    section = fields.entries[0].sections[0]
    hostile = fields.with_section(0, 0, section[:1] + b"\7" + section[2:])
    (tmp_path / "x.wcz").write_bytes(hostile.to_bytes())
    with pytest.raises(CorruptError):
        decode(tmp_path / "x.wcz", tmp_path / "out", base=old)
