"""Conversion between model files and `Model`. No framework is imported, and code of a model is never run.

A model file is a skeleton (everything but the values) and an ordered list of tensors. The module that reads and writes
a kind of file is imported when it is first needed.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wcodec.errors import CorruptError, ModelFileError, UnsupportedError
from wcodec.model import AnyArray, Model, TensorSpec
from wcodec.model.dataclass import replace
from wcodec.modelfiles.registry import MODEL_FILES, READ_ONLY


@contextmanager
def open_model(path: Path, keep_optimizer: bool = False) -> Iterator[Model]:
    """A context manager that opens the model at `path`, whose kind is found by its content. Inverse: `write_model`.

    Vectors have their roles. Tensors can be read until the context ends.
    Raises: ModelFileError, which says what was found, if it is not a supported model file.
    """
    from wcodec.modelfiles.detect import detect_kind
    from wcodec.modelfiles.roles import with_roles

    with (MODEL_FILES | READ_ONLY)[detect_kind(path)].read(path, keep_optimizer) as model:
        yield replace(model, tensors=with_roles(model.tensors, model.roles))


def write_model(
    path: Path, kind: str, skeleton: bytes, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]
) -> None:
    """Write a new file at `path` in order, reading one tensor at a time. Inverse: `open_model`.

    Raises: UnsupportedError for an unknown kind; CorruptError or TruncatedError if the skeleton is damaged;
    ModelFileError if the file cannot be written; OSError if the disk is full.
    """
    if kind not in MODEL_FILES:
        raise UnsupportedError(f"{path}: expected a kind of model file among {', '.join(MODEL_FILES)}, got {kind!r}")
    try:
        MODEL_FILES[kind].write(path, skeleton, tensors, values)
    except (OSError, RuntimeError) as error:
        if number := _find_disk_error(error):
            raise OSError(number, os.strerror(number), str(path)) from error
        if isinstance(error, RuntimeError):
            raise
        raise ModelFileError(f"{path}: cannot be written: {error}") from error


def _find_disk_error(error: Exception) -> int | None:
    """The error number of a disk that is full or fails; HDF5 gives it only in the text of its message."""
    found = re.search(r"errno = (\d+)", str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    return number if number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO) else None


def suffix(kind: str, skeleton: bytes) -> str:
    """The suffix of a decoded file if the name of its source is unknown."""
    if kind not in MODEL_FILES:
        raise UnsupportedError(f"expected a kind of model file among {', '.join(MODEL_FILES)}, got {kind!r}")
    if kind == "file":
        from wcodec.modelfiles.extents import suffix as suffix_of

        return suffix_of(skeleton)
    suffixes = MODEL_FILES[kind].suffixes
    if not skeleton:
        raise CorruptError("skeleton: expected at least 1 byte, got none")
    return suffixes[-1] if len(suffixes) > 1 and skeleton[0] == 1 else suffixes[0]
