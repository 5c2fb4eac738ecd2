"""The kind of a model file, found by its content, and advice for files that are not supported."""

from __future__ import annotations

import zipfile
from pathlib import Path

from wcodec.errors import ModelFileError
from wcodec.modelfiles.zip_members import open_archive

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

SAVED_MODEL = (
    "Keras 3 cannot load it; tf_keras can (tf_keras.models.load_model) and saves it as .h5, "
    "or save the model it was made from as .keras"
)
"""Advice for a SavedModel."""
OLD_TORCH = b"\x80\x02\x8a\x0al\xfc"
"""The first bytes of a file of `torch.save` before it wrote zip archives."""
FOREIGN = (
    (0, b"GGUF", "a GGUF file: convert its source (safetensors) instead"),
    (4, b"TFL3", "a TFLite model: encode the Keras model it was converted from"),
    (0, b"\x1f\x8b", "gzip-compressed: decompress it first"),
    (0, b"\x89WCZ", "a .wcz container already: use decode"),
    (0, b"\x80", "a Python pickle (joblib, PyTorch): pickles can run code; save the weights as .npz or .safetensors"),
    (0, b"x", "probably joblib with zlib: pickles can run code; save the weights as .npz or .safetensors"),
)  # fmt: skip
"""(offset, magic bytes, description and advice)."""


def detect_kind(path: Path) -> str:
    """The key of `registry.MODEL_FILES` for the file at `path`.

    Raises: ModelFileError that says what was found instead.
    """
    try:
        if path.is_dir():
            raise ModelFileError(f"{path}: {_describe_directory(path)}")
        with path.open("rb") as file:
            head = file.read(16)
            size = path.stat().st_size
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    if head.startswith(HDF5_MAGIC):
        return "hdf5"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _describe_zip(path)
    if len(head) >= 9 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(OLD_TORCH):
        return "torch"
    if head.startswith(b"\x08") and _is_onnx(path):
        return "onnx"
    if message := describe_foreign(path, head):
        raise ModelFileError(f"{path}: is {message}")
    found = f"starts with {head[:8].hex(' ')}" if head else "is empty"
    raise ModelFileError(f"{path}: expected .h5, .keras, .npz, .npy, .safetensors, .onnx or .pt, but it {found}")


def describe_foreign(path: Path, head: bytes) -> str | None:
    """A description of a file or folder that is not supported, with advice; None for others. head: its first bytes."""
    if path.is_dir():
        saved = any((path / name).exists() for name in ("saved_model.pb", "saved_model.pbtxt"))
        return f"a SavedModel: {SAVED_MODEL}" if saved else None
    if message := _describe_protobuf(path, head):
        return f"{message}; --lossless keeps any file"
    found = (advice for at, magic, advice in FOREIGN if head[at : at + len(magic)] == magic)
    return next(found, None)


def _is_onnx(path: Path) -> bool:
    from wcodec.modelfiles.onnx import is_onnx

    return is_onnx(path)


def _describe_protobuf(path: Path, head: bytes) -> str | None:
    """A description of a protocol buffer that is not an ONNX model, with advice; None for other files."""
    if path.suffix == ".mlmodel":
        return "a Core ML model: encode the model that it was converted from"
    if path.name == "saved_model.pb":
        return f"the graph of a SavedModel: {SAVED_MODEL}"
    if path.suffix in {".pb", ".pbtxt"}:
        return "a TensorFlow graph: encode the Keras model that it was made from (.keras, .h5)"
    if path.suffix == ".onnx" and head.startswith(b"\x08"):
        return "a damaged ONNX model: a message without a graph"
    return "a protocol buffer without a graph, no ONNX model" if head.startswith(b"\x08") else None


def _describe_zip(path: Path) -> str:
    try:
        with open_archive(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: a damaged zip archive: {error}") from error
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    if "config.json" in names or any(name.startswith("model.weights.") for name in names):
        return "keras"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    held = ", ".join(names[:3]) or "nothing"
    raise ModelFileError(f"{path}: expected a .keras or .npz archive, but this zip holds {held}")


def _describe_directory(path: Path) -> str:
    if message := describe_foreign(path, b""):
        return f"is {message}"
    return "is a directory, expected a model file; encode, decode and verify take folders"
