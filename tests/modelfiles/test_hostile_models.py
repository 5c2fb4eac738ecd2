"""Hostile model files are refused by name within seconds, or encoded losslessly; no files are left."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from attack.file_fields import varint

import wcodec as package
from wcodec.errors import CorruptError, ModelFileError
from wcodec.modelfiles import onnx, open_model, shard_list, shards
from wcodec.modelfiles.extent_finder import find_extents

CPU_SECONDS = 20
"""CPU seconds, many times those of an early check; a late check takes minutes."""


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail if more than 50 million bytes are allocated at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, dims: bytes = b"\x08\x01") -> bytes:
    """An initializer of four bytes."""
    return message(5, dims + b"\x10\x01" + message(8, name.encode()) + message(9, b"1234"))


def onnx_file(path: Path, graph: bytes) -> Path:
    path.write_bytes(b"\x08\x08" + message(7, graph))
    return path


def safetensors_file(path: Path, header: bytes, values: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + values)
    return path


def assert_lossless(path: Path) -> None:
    coded, back = path.with_name("coded.wcz"), path.with_name("back")
    package.encode(path, coded, lossless=True)
    package.decode(coded, back)
    assert back.read_bytes() == path.read_bytes()


def test_repeated_names_of_an_onnx_model_get_unique_names(tmp_path: Path) -> None:
    names = ["a" + "#2" * i for i in range(1200)]
    path = onnx_file(tmp_path / "m.onnx", b"".join(map(tensor, [*names, "a"])))
    assert len({extent.facts.name for extent in onnx.find_tensors(path).extents}) == 1201


def test_an_onnx_tensor_of_many_huge_dimensions_is_encoded_as_bytes(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "m.onnx", tensor("w", message(1, varint((1 << 63) - 1) * 50_000)))
    start = time.process_time()
    assert_lossless(path)
    assert time.process_time() - start < CPU_SECONDS


def test_an_onnx_model_with_too_many_fields_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "GraphWalk", partial(onnx.GraphWalk, fields_left=1000))
    path = onnx_file(tmp_path / "m.onnx", b"\x10\x01" * 1001)
    with pytest.raises(ModelFileError, match="fields"):
        onnx.find_tensors(path)


def test_an_onnx_model_of_a_million_top_level_fields_is_refused_within_seconds(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "m.onnx", b"")
    path.write_bytes(path.read_bytes() + b"\x10\x01" * 1_000_000)
    start = time.process_time()
    with pytest.raises(ModelFileError, match="damaged ONNX"):
        package.encode(path, tmp_path / "m.wcz")
    assert time.process_time() - start < CPU_SECONDS
    assert_lossless(path)


def test_an_onnx_model_of_deeply_nested_graphs_is_refused_and_encoded_if_lossless(tmp_path: Path) -> None:
    graph = b""
    for _ in range(40):
        graph = message(1, message(5, message(1, b"g") + message(6, graph)))
    path = onnx_file(tmp_path / "m.onnx", graph)
    with pytest.raises(ModelFileError, match="32 deep"):
        package.encode(path, tmp_path / "m.wcz")
    assert_lossless(path)


def test_strings_that_share_one_megabyte_are_refused_and_encoded_if_lossless(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["w"] = np.ones((4, 4), np.float32)
        file.attrs["long"] = "x" * 1_000_000
        file.attrs.create("many", [f"{number:04}" for number in range(4000)], dtype=h5py.string_dtype())
    whole = bytearray(path.read_bytes())
    long = whole.index(struct.pack("<I", 1_000_000))
    short = struct.pack("<I", 4)
    at = whole.index(b"many")
    while (at := whole.find(short, at)) >= 0:  # length, address of a heap, number in it
        heap, number = struct.unpack_from("<QI", whole, at + 4)
        if whole[heap : heap + 4] == b"GCOL" and number:
            whole[at : at + 16] = whole[long : long + 16]
        at += 1
    path.write_bytes(whole)
    with pytest.raises(ModelFileError, match="many: may hold over"):
        package.encode(path, tmp_path / "m.wcz")
    assert_lossless(path)


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b"12345678"),
        (b'{"a":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]}}', b""),
        (b'{"a":{"dtype":"F32","shape":[' + b"1.5," * 50_000 + b'1],"data_offsets":[0,8]}}', b"12345678"),
    ],
)
def test_an_impossible_safetensors_header_causes_one_short_line_and_is_encoded_if_lossless(
    header: bytes, values: bytes, tmp_path: Path
) -> None:
    path = safetensors_file(tmp_path / "m.safetensors", header, values)
    with pytest.raises(ModelFileError) as caught:
        package.encode(path, tmp_path / "m.wcz")
    assert len(str(caught.value)) < 1000
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert_lossless(path)


def _add_large_byte_order(archive: zipfile.ZipFile) -> None:
    archive.writestr("m/byteorder", b"l" * (1 << 28), zipfile.ZIP_DEFLATED)


def _add_compressed_byte_order(archive: zipfile.ZipFile) -> None:
    archive.writestr("m/byteorder", b"little", zipfile.ZIP_LZMA)


@pytest.mark.parametrize("add", [_add_large_byte_order, _add_compressed_byte_order])
def test_the_byte_order_of_a_pytorch_archive_is_read_only_if_it_is_short_and_uncompressed(
    add: Callable[[zipfile.ZipFile], None], tmp_path: Path
) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}q\x00.")
        add(archive)
    with little_memory():
        assert find_extents(path).extents == ()


def test_overlapping_members_of_an_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.npy", "w") as file:
            np.save(file, np.zeros(1 << 20, np.uint8))
        first = archive.infolist()[0]
        for number in range(8):
            again = zipfile.ZipInfo(f"b{number}.npy")
            for word in ("compress_type", "compress_size", "file_size", "CRC", "header_offset"):
                setattr(again, word, getattr(first, word))
            archive.filelist.append(again)
    with pytest.raises(ModelFileError), open_model(path):
        pass


def list_parts(names: Sequence[str]) -> bytes:
    """A list of parts with the names of the files, which may be invalid."""
    count = b"\0" + varint(len(names))
    return count + b"".join(varint(len(name)) + name.encode() + b"\1" + bytes(32) for name in names)


@pytest.mark.parametrize("names", [("index",), ("a", "a.wcz/b"), ("a", "a"), ("a", "a/b"), ("a", "a!", "a/b")])
def test_parts_with_conflicting_paths_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(CorruptError):
        shard_list.parse(list_parts(names))


def test_deep_paths_of_parts_take_little_memory() -> None:
    deep = "/".join("a" * 400)
    packed = list_parts([f"{deep}/{number}" for number in range(2000)])
    with little_memory():
        assert len(shard_list.parse(packed).shards) == 2000


def test_a_folder_with_a_file_named_index_is_restored(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    np.savez(tmp_path / "m" / "index", w=np.ones((4, 4), np.float32))
    (tmp_path / "m" / "index.npz").rename(tmp_path / "m" / "index")
    package.encode(tmp_path / "m", tmp_path / "m.wcz", lossless=True)
    package.decode(tmp_path / "m.wcz", tmp_path / "back")
    assert (tmp_path / "back" / "index").read_bytes() == (tmp_path / "m" / "index").read_bytes()


def test_a_weight_map_with_paths_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    for name in ("../x", "/etc/passwd", "a/../../x", "..\\x"):
        index = tmp_path / "m.index.json"
        index.write_text(json.dumps({"weight_map": {"w": name}}))
        with pytest.raises(ModelFileError, match="in its folder"):
            shards.folder_of(index)
