"""`encode --lossless` restores any file byte for byte; single tensors are decoded if the format is known."""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from attack.small_models import WRITERS, two_layers, weights, write_safetensors
from conftest import Run
from round_trips import assert_identical, lossless

from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.errors import CorruptError
from wcodec.pipeline.decoder import decode, open_container, verify
from wcodec.pipeline.lossless_encoder import INLINE
from wcodec.reporting.inspection import inspect


@pytest.mark.parametrize("name", ["lenet300.h5", "lenet5.keras", "tutorial_cnn.h5", "mnist.npz", "README.md"])
def test_a_sample_is_restored_byte_for_byte(name: str, samples: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes((samples / name).read_bytes())
    packed = assert_identical(tmp_path / name)
    if name.endswith(("h5", "keras")):
        with open_container(packed) as opened:
            assert len(opened.names()) >= 4
        assert packed.stat().st_size < 0.9 * (tmp_path / name).stat().st_size


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_keeps_the_names_and_values_of_tensors(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / f"m.{kind}", two_layers() | {"b/step": np.arange(3)})
    source = source if source.exists() else source.with_name(f"{source.name}.npz")
    packed = assert_identical(source, *two_layers())
    with open_container(packed) as opened:
        for name, values in two_layers().items():
            assert name == "b/step" or np.array_equal(opened[name], values)
    if kind == "hdf5":
        assert [tensor.duplicate_of for tensor in inspect(packed).tensors].count(None) == len(two_layers()) - 1


CONTENTS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"", "ten bytes": lambda: b"0123456789", "text": lambda: b"not a model\n" * 1000,
    "random": lambda: np.random.default_rng(0).bytes(300_000), "zeros": lambda: bytes(3 * INLINE),
    "more random than fits a skeleton": lambda: np.random.default_rng(0).bytes(2 * INLINE + 12_345),
    "a damaged zip": lambda: b"PK\3\4" + bytes(100), "a damaged HDF5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(1000),
    "a pickle": lambda: b"\x80\4\x95" + bytes(50), "another .wcz": lambda: b"\x89WCZ\1" + bytes(50),
    "a safetensors header alone": lambda: struct.pack("<Q", 3) + b"{,}",
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
def test_files_of_any_other_format_are_restored(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENTS[name]())
    assert_identical(tmp_path / "file")


def test_chunked_and_compressed_datasets_are_in_the_remainder(tmp_path: Path) -> None:
    kernel = weights(1, 200, 150)
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        file.create_dataset("plain", data=kernel)
        file.create_dataset("big", data=kernel.astype(">f4"))
        file.create_dataset("chunked", data=kernel, chunks=(50, 50))
        file.create_dataset("deflated", data=kernel, compression="gzip")
        file.create_dataset("text", data="words")
        file.create_dataset("enum", data=1, dtype=h5py.enum_dtype({"a": 1}))
        file["again"] = file["plain"]
        file["soft"] = h5py.SoftLink("/plain")
    packed = assert_identical(tmp_path / "m.h5", "big")
    with open_container(packed) as opened:
        assert set(opened.names()) in ({"plain", "big"}, {"again", "big"})
        assert all(np.array_equal(opened[name], kernel) for name in opened.names())


def test_deflated_members_are_in_the_remainder(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "m.npz", a=weights(1, 50, 40))
    with zipfile.ZipFile(tmp_path / "m.npz", "a") as archive, archive.open("b.npy", "w") as member:
        np.save(member, weights(2, 50, 40))
    assert_identical(tmp_path / "m.npz", "b")


def test_arrays_in_other_byte_and_memory_orders_are_decoded_with_their_values(tmp_path: Path) -> None:
    arrays = {
        "swapped": weights(1, 30, 20).astype(">f8"),
        "turned": np.asfortranarray(weights(2, 30, 20, 3)),
        "both": np.asfortranarray(weights(3, 300, 20).astype(">f4")),
        "long": np.asfortranarray(weights(4, 1100, 1000)),
    }
    np.savez(tmp_path / "m.npz", **arrays)
    packed = assert_identical(tmp_path / "m.npz", *arrays)
    with open_container(packed) as opened:
        assert all(np.array_equal(opened[name], values) for name, values in arrays.items())


def test_a_tensor_of_many_chunks_and_a_large_remainder_are_restored(tmp_path: Path) -> None:
    many = np.tile(weights(1, 1 << 10), 3 * CHUNK_WEIGHTS // (1 << 10)).astype(np.float16)
    source = write_safetensors(tmp_path / "m.safetensors", {"many": many, "few": weights(2, 9)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("words", np.random.default_rng(1).bytes(INLINE + 5))
        archive.write(source, "m.npy")
        with archive.open("many.npy", "w") as member:
            np.save(member, many)
        archive.writestr("last", b"words")
    for path in (source, tmp_path / "a.npz"):
        assert_identical(path)


def test_the_bytes_do_not_depend_on_threads_or_the_name(tmp_path: Path) -> None:
    arrays = {"a": weights(1, 900, 1200), "b": weights(2, 300, 100), "c": weights(1, 900, 1200)}
    write_safetensors(tmp_path / "a.safetensors", arrays)
    write_safetensors(tmp_path / "b.other", arrays)
    files = [lossless(tmp_path / "a.safetensors", threads).read_bytes() for threads in (1, 2, 5)]
    files.append(lossless(tmp_path / "b.other").read_bytes())
    assert len(set(files)) == 1


def test_many_tiny_tensors_do_not_make_the_file_larger(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = {rng.bytes(9).hex(): np.frombuffer(rng.bytes(4), np.float32) for _ in range(3000)}
    assert_identical(write_safetensors(tmp_path / "m.safetensors", arrays))


def test_extents_that_overlap_or_are_outside_of_the_file_are_in_the_remainder(tmp_path: Path) -> None:
    source = tmp_path / "m.h5"
    with h5py.File(source, "w") as file:
        for name in ("a", "b", "c"):
            file.create_dataset(name, data=weights(1, 500))
        places = {name: file[name].id.get_offset() for name in "abc"}
    content = source.read_bytes()
    moved = content.replace(struct.pack("<Q", places["b"]), struct.pack("<Q", places["a"] + 100))
    moved = moved.replace(struct.pack("<Q", places["c"]), struct.pack("<Q", len(content) + 5))
    source.write_bytes(moved)
    packed = assert_identical(source)
    with open_container(packed) as opened:
        assert "b" not in opened.names()


def test_a_decoded_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    from attack.file_fields import dissect

    source = write_safetensors(tmp_path / "m.safetensors", {"w": weights(1, 30, 20)})
    fields = dissect(lossless(source).read_bytes())
    at = fields.skeleton.index(b'"F32"')
    skeleton = fields.skeleton[:at] + b'"F16"' + fields.skeleton[at + 5 :]
    (tmp_path / "lie.wcz").write_bytes(type(fields)(**vars(fields) | {"skeleton": skeleton}).to_bytes())
    for attempt in (lambda: decode(tmp_path / "lie.wcz", tmp_path / "out"), lambda: verify(tmp_path / "lie.wcz")):
        with pytest.raises(CorruptError, match="SHA-256"):
            attempt()
    assert not (tmp_path / "out").exists()


def test_the_command_restores_the_name_of_the_file(wcodec: Run, samples: Path, tmp_path: Path) -> None:
    for name in ("m.h5", "m.pth", "words", "m.tar.gz"):
        (tmp_path / name).write_bytes((samples / "tutorial_cnn.h5").read_bytes())
        assert wcodec("encode", tmp_path / name, "--lossless").returncode == 0
        (tmp_path / name).rename(tmp_path / "before")
        done = wcodec("decode", tmp_path / f"{name}.wcz")
        expected = tmp_path / (name if "." in name else f"{name}.h5")
        assert expected.read_bytes() == (tmp_path / "before").read_bytes(), done.stderr
    assert json.loads(wcodec("inspect", tmp_path / "m.h5.wcz", "--json").stdout)["relative_error"] == 0.0
    assert wcodec("verify", tmp_path / "m.h5.wcz").returncode == 0


@pytest.mark.parametrize("length", [0, 1, 300, 1000, 4000, 12_000, 40_000])
def test_a_best_file_is_at_most_40_bytes_or_1_percent_larger_than_that_of_xz(length: int, tmp_path: Path) -> None:
    text = json.dumps({f"word {i * i % 977}": i / 7 for i in range(2000)}).encode()
    for number, content in enumerate((text, np.arange(6000).tobytes(), np.random.default_rng(0).bytes(50_000))):
        source = tmp_path / f"{number}.bin"
        source.write_bytes(content[:length])
        packed = lossless(source, effort="best").stat().st_size
        most = len(lzma.compress(content[:length], preset=9 | lzma.PRESET_EXTREME))
        assert packed <= max(1.01 * most, most + 40)
