"""HDF5 element types and their texts in a skeleton. Types without a text are refused.

`<f4` and similar texts are numpy's spelling (h5py's enum for booleans, its compound for complex numbers, `|V2` opaque).
A string type is `s`, the padding (`t` null-terminated, `n` null-padded, `s` space-padded), the character set (`a`
ASCII, `u` UTF-8) and the bytes of an element, 0 for variable length.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from wcodec.container.dtypes import DTYPE_OF_CODE
from wcodec.errors import CorruptError, ModelFileError
from wcodec.modelfiles.hdf5.library import h5py, h5t

_PADDINGS = {"t": h5t.STR_NULLTERM, "n": h5t.STR_NULLPAD, "s": h5t.STR_SPACEPAD}
_CHARACTERS = {"a": h5t.CSET_ASCII, "u": h5t.CSET_UTF8}


@lru_cache(maxsize=256)
def hdf5_type(text: str) -> h5t.TypeID:
    """The HDF5 type of a text. Inverse: `type_text`.

    Raises: CorruptError if h5py has no such type.
    """
    if text[0] == "s":
        made = h5t.C_S1.copy()
        made.set_size(int(text[3:]) or h5t.VARIABLE)
        made.set_strpad(_PADDINGS[text[1]])
        made.set_cset(_CHARACTERS[text[2]])
        return made
    try:
        return h5t.py_create(np.dtype(text), logical=True)
    except (TypeError, ValueError) as error:
        raise CorruptError(f"skeleton: {text!r} is no element type: {error}") from error


def memory_type(text: str) -> tuple[np.dtype[np.generic], h5t.TypeID]:
    """The type of values in h5py's memory: raw bytes as on disk, Python bytes for variable-length strings."""
    if size := int(text[3:] if text[0] == "s" else text[2:]):
        return np.dtype(f"V{size}"), hdf5_type(text)
    strings = h5py.string_dtype("utf-8" if text[2] == "u" else "ascii")
    return strings, h5t.py_create(strings)


def type_text(type_id: h5t.TypeID, where: str) -> str:
    """The text of an HDF5 type. Inverse: `hdf5_type`.

    Raises: ModelFileError, naming `where`, for a type without a text (references, padded floats, enums).
    """
    if isinstance(type_id, h5t.TypeStringID):
        padding = {value: key for key, value in _PADDINGS.items()}[type_id.get_strpad()]
        characters = {value: key for key, value in _CHARACTERS.items()}[type_id.get_cset()]
        text = f"s{padding}{characters}{0 if type_id.is_variable_str() else type_id.get_size()}"
    elif type_id.get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.OPAQUE, h5t.ENUM, h5t.COMPOUND):
        text = type_id.dtype.str
    else:
        raise ModelFileError(f"{where}: its HDF5 type is not supported: {_CLASSES.get(type_id.get_class(), 'unknown')}")
    if text[1] not in "fiucbVtns" or not hdf5_type(text).equal(type_id):
        raise ModelFileError(f"{where}: its HDF5 type is not supported; the nearest is {text}")
    return text


def tensor_dtype(text: str) -> str | None:
    """The tensor type (`wire.DTYPES`) of an element type; None if tensors cannot have it."""
    return DTYPE_OF_CODE.get(text[1:]) if text[0] != "s" else None


_CLASSES = {
    h5t.REFERENCE: "reference", h5t.VLEN: "variable-length sequence", h5t.ARRAY: "array", h5t.BITFIELD: "bit field",
    h5t.TIME: "time",
}  # fmt: skip
