"""Finding the extents (byte ranges of tensor values) in a file of any kind, which `--lossless` codes as numbers.

No file is refused: bytes that are not understood belong to the remainder, and such a file may have no extents.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from wcodec.errors import ModelFileError
from wcodec.model import ITEM_BYTES, TensorSpec
from wcodec.modelfiles import detect, npy, onnx, safetensors
from wcodec.modelfiles import keras_archive as archive
from wcodec.modelfiles import zip_members as members
from wcodec.modelfiles.extents import BIG_ENDIAN, OTHER, SUFFIXES, Extent, FileLayout, make_layout
from wcodec.modelfiles.hdf5 import reader as hdf5_read
from wcodec.modelfiles.hdf5.datasets import walk_datasets
from wcodec.modelfiles.hdf5.library import h5d, h5g
from wcodec.modelfiles.hdf5.types import tensor_dtype, type_text
from wcodec.modelfiles.pytorch_storages import storage_types
from wcodec.modelfiles.zip_members import Window


def find_extents(path: Path) -> FileLayout:
    """The layout of the file at `path`. Raises: OSError if it cannot be opened."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
    try:
        kind = detect.detect_kind(path)
        return make_layout(SUFFIXES.index(_find_suffix(kind, path)), length, list(_CUTTERS[kind](path)))
    except ModelFileError:
        return FileLayout(OTHER, length)


def _find_suffix(kind: str, path: Path) -> str:
    if kind == "hdf5" and path.name.endswith(".weights.h5"):
        return ".weights.h5"
    return {"hdf5": ".h5", "torch": ".pt"}.get(kind, f".{kind}")


def _find_hdf5(path: Path) -> Iterator[Extent]:
    yield from _find_datasets(path, str(path), 0)


def _find_datasets(source: Path | IO[bytes], where: str, origin: int) -> list[Extent]:
    """The contiguous datasets of numbers. origin: the byte of the file at which HDF5 starts."""
    with hdf5_read.open_hdf5(source, where) as (file, _), hdf5_read.translate_errors(where):
        found = (_find_dataset(name, dataset, origin) for name, dataset in walk_datasets(h5g.open(file.id, b"/")))
        return [extent for extent in found if extent]


def _find_dataset(name: str, dataset: h5d.DatasetID, origin: int) -> Extent | None:
    try:
        text = type_text(dataset.get_type(), name)
        dtype, begin, shape = tensor_dtype(text), dataset.get_offset(), tuple(map(int, dataset.shape))
        layout = dataset.get_create_plist().get_layout()
    except (ModelFileError, *hdf5_read.HDF5_ERRORS):
        return None
    if dtype is None or begin is None or layout != h5d.CONTIGUOUS:
        return None
    facts = TensorSpec(name, dtype, shape)
    if not 0 < facts.nbytes == dataset.get_storage_size():
        return None
    return Extent(facts, origin + begin, BIG_ENDIAN * (text[0] == ">"))


def _find_keras(path: Path) -> Iterator[Extent]:
    with _open_stored(path) as members_of:
        for info, _ in members_of:
            if info.filename.endswith(".h5"):
                with io.BufferedReader(Window(path, info), archive.BLOCK) as file:
                    yield from _find_datasets(file, f"{path}, {info.filename}", start_of(path, info))


def _find_npz(path: Path) -> Iterator[Extent]:
    with _open_stored(path) as members_of:
        for info, file in members_of:
            yield from _find_array(file, info.filename, start_of(path, info), info.file_size)


def _find_npy(path: Path) -> Iterator[Extent]:
    with path.open("rb") as file:
        yield from _find_array(file, npy.NAME, 0, path.stat().st_size)


def _find_array(file: IO[bytes], name: str, begin: int, size: int) -> Iterator[Extent]:
    with suppress(ModelFileError):
        yield npy.extent_of(file, name, begin, size)


def _find_safetensors(path: Path) -> Iterator[Extent]:
    yield from safetensors.find_extents(path)


def _find_onnx(path: Path) -> Iterator[Extent]:
    yield from onnx.find_extents(path)


def _find_torch(path: Path) -> Iterator[Extent]:
    with members.translate_errors(str(path)), members.open_archive(path) as opened:
        types = storage_types(opened)
    with _open_stored(path) as members_of:
        for info, _ in members_of:
            if dtype := types.get(info.filename):
                count = info.file_size // ITEM_BYTES[dtype]
                facts = TensorSpec(info.filename.partition("/")[2], dtype, (count,))
                if facts.nbytes == info.file_size:
                    yield Extent(facts, start_of(path, info))


_CUTTERS = {
    "hdf5": _find_hdf5, "keras": _find_keras, "npz": _find_npz, "npy": _find_npy, "safetensors": _find_safetensors,
    "onnx": _find_onnx, "torch": _find_torch,
}  # fmt: skip


def start_of(path: Path, info: zipfile.ZipInfo) -> int:
    """The position of the first byte of a stored zip member."""
    with Window(path, info) as window:
        return window.start


@contextmanager
def _open_stored(path: Path) -> Iterator[Iterator[tuple[zipfile.ZipInfo, IO[bytes]]]]:
    """The uncompressed members of an archive, opened one after another."""
    with members.translate_errors(str(path)), members.open_archive(path) as opened:

        def walk() -> Iterator[tuple[zipfile.ZipInfo, IO[bytes]]]:
            for info in opened.infolist():
                if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
                    with opened.open(info) as file:
                        yield info, file

        yield walk()
