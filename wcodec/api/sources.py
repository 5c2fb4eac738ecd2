"""Sources and targets in Python: paths, bytes, binary files, arrays, models of frameworks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol, TypeAlias, runtime_checkable

from wcodec.api.paths import StrPath, check_path, refuse_same, require_path
from wcodec.errors import (
    CorruptError,
    ModelFileError,
    RecipeError,
    TruncatedError,
    WcodecError,
    replace_in_errors,
)


@runtime_checkable
class Readable(Protocol):
    """A binary file that is open for reading."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes."""
        ...


@runtime_checkable
class Writable(Protocol):
    """A binary file that is open for writing."""

    def write(self, written: bytes, /) -> object:
        """Write all of it."""
        ...


@runtime_checkable
class KerasModel(Protocol):
    """A Keras model."""

    @property
    def layers(self) -> object: ...
    def save(self, filepath: str) -> object:
        """Write the model to a file."""
        ...


@runtime_checkable
class OnnxModel(Protocol):
    """A ModelProto of the package `onnx`."""

    @property
    def graph(self) -> object: ...
    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The bytes of a `.onnx` file."""
        ...


@runtime_checkable
class TorchModule(Protocol):
    """An `nn.Module` of PyTorch, whose state_dict is encoded."""

    def state_dict(self) -> Mapping[str, object]:
        """The tensors by name."""
        ...

    def named_modules(self) -> object: ...


Coded: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | Readable
"""A .wcz: its path, its bytes, or a binary file."""
Source: TypeAlias = Coded | Mapping[str, object] | KerasModel | OnnxModel | TorchModule
"""A model: a path, the bytes of a file, a binary file, arrays by name (numpy, ml_dtypes, PyTorch), a Keras model, a
ModelProto of ONNX, or an `nn.Module`."""
SHORTEST: Final = 4
"""The number of bytes by which a .wcz is known."""
Target: TypeAlias = str | PathLike[str] | Writable


@contextmanager
def open_source(source: Source, unknown: str = "") -> Iterator[Path]:
    """A context with the path of the file or folder to read; objects in memory are written to a temporary file, which
    errors name "source".

    unknown: the suffix for bytes that are no model file: ".wcz" where a .wcz is expected.
    Raises: FileNotFoundError; ModelFileError for values that are not arrays; TruncatedError for a few bytes where a
    .wcz is expected; RecipeError for anything else.
    """
    if isinstance(source, str | PathLike):
        yield require_path(source)
        return
    with TemporaryDirectory(prefix="wcodec-") as folder:
        spooled = spool(source, Path(folder), unknown)
        with hide_path(spooled):
            yield spooled


@contextmanager
def hide_path(spooled: Path) -> Iterator[None]:
    """A context whose WcodecErrors name the file of an object in memory "source"."""
    place = spooled.name if spooled.suffix == ".wcz" else str(spooled)
    with replace_in_errors(place, "source"), replace_in_errors(str(spooled), "source"):
        yield


def spool(source: Source, folder: Path, unknown: str = "") -> Path:
    """A file in `folder` with the contents of the object in memory. unknown: see `open_source`.

    Raises: the same errors as `open_source`.
    """
    if isinstance(source, Mapping):
        from wcodec.modelfiles.arrays import write_arrays

        return write_arrays(folder, source)
    if isinstance(source, KerasModel):
        from wcodec.evaluation.model_saver import save_model

        return save_model(source, folder)
    if isinstance(source, TorchModule):
        return spool(source.state_dict(), folder)
    if isinstance(source, OnnxModel):
        return _spool_onnx(source, folder)
    if not isinstance(source, bytes | bytearray | memoryview | Readable):
        raise RecipeError(
            "source: expected a path, bytes, a binary file, arrays by name, a Keras model, a ModelProto of ONNX or an "
            f"nn.Module, got {type(source).__name__}"
        )
    spooled = folder / "source"
    with spooled.open("wb") as file:
        if isinstance(source, bytes | bytearray | memoryview):
            file.write(source)
        else:
            try:
                shutil.copyfileobj(source, file, 1 << 20)
            except TypeError as error:
                raise RecipeError("source: expected a binary file, got one of text") from error
            except ValueError as error:  # closed, or open for writing only
                raise RecipeError(f"source: expected a binary file that can be read, got one with {error}") from error
    size = spooled.stat().st_size
    if unknown and not size:
        raise CorruptError("source: expected a .wcz or a model file, got no bytes")
    if unknown and size < SHORTEST:
        raise TruncatedError(f"source: ended early; expected a .wcz or a model file, got {size} bytes")
    return spooled.rename(folder / f"source{_find_suffix(spooled) or unknown}")


def _spool_onnx(source: OnnxModel, folder: Path) -> Path:
    """Raises: ModelFileError for a model that protobuf cannot put into one file."""
    spooled = folder / "source.onnx"
    try:
        spooled.write_bytes(source.SerializeToString())
    except (ValueError, RuntimeError) as error:  # the limit is 2 GB; EncodeError is a ValueError
        raise ModelFileError(f"source: expected a ModelProto that fits in one file, got {error}") from error
    return spooled


def _find_suffix(path: Path) -> str:
    """The suffix of such a file."""
    from wcodec.modelfiles.detect import detect_kind
    from wcodec.modelfiles.registry import MODEL_FILES, READ_ONLY

    try:
        return (MODEL_FILES | READ_ONLY)[detect_kind(path)].suffixes[0]
    except (ModelFileError, KeyError):
        return ""


@contextmanager
def open_target(target: Target | None, force: bool, *read: Path | None, suffix: str = "") -> Iterator[Path]:
    """A context with the path to write. If `target` is a binary file, the contents are written to it at the end.

    read:   files that must not be overwritten.
    suffix: of the temporary file without a path.
    Raises: WcodecError if `target` exists, without `force`; RecipeError for what cannot be written to; OSError.
    """
    if target is None or not isinstance(target, str | PathLike):
        _refuse_unwritable(target)
        with TemporaryDirectory(prefix="wcodec-") as folder:
            made = Path(folder) / f"target{suffix}"
            yield made
            if target is not None and made.exists():
                with made.open("rb") as file:
                    while part := file.read(1 << 20):
                        target.write(part)
        return
    path = check_path(target, "target")
    refuse_same(path, *read)
    refuse_existing(path, force)
    yield path


def _refuse_unwritable(target: Writable | None) -> None:
    """Raises: RecipeError."""
    if target is not None and not isinstance(target, Writable):
        raise RecipeError(f"target: expected a path or a binary file, got {type(target).__name__}")
    if getattr(target, "closed", False):
        raise RecipeError("target: expected an open binary file, got a closed one")


def refuse_existing(path: StrPath, force: bool) -> None:
    """Raises: WcodecError if there is a file, or a folder with a finished model, without `force`."""
    path = Path(path)
    if not force and (path.is_file() or (path / "index.wcz").exists()):
        raise WcodecError(f"{path}: exists already, and force=False keeps it")
