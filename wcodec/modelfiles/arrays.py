"""Arrays in memory, written as a `.safetensors` file (or an `.npz` file for types that it lacks), and element types."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from wcodec.container.dtypes import DTYPE_OF_CODE, numpy_type, to_float32
from wcodec.errors import ModelFileError, RecipeError
from wcodec.model import AnyArray, TensorSpec
from wcodec.modelfiles import safetensors
from wcodec.modelfiles.npz import write as write_npz
from wcodec.modelfiles.zip_members import EPOCH, TENSORS, Member, pack

ML_DTYPES = {"bfloat16": "bfloat16", "float8_e4m3fn": "float8_e4m3", "float8_e5m2": "float8_e5m2"}
"""wcodec's name of an element type, by its name in the package `ml_dtypes` and in PyTorch."""


def write_arrays(folder: Path, arrays: Mapping[str, object], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a model file of these arrays into `folder`, and return its path.

    arrays:   by name: numpy arrays (also with the types of `ml_dtypes`), PyTorch tensors, or anything that numpy
              converts.
    metadata: of the `.safetensors` file.
    Raises: ModelFileError with the name of a value that is not an array.
    """
    found = {str(name): array_of(str(name), value) for name, value in arrays.items()}
    if len(found) != len(arrays):
        raise ModelFileError("arrays: expected names that differ as texts")
    specs = [TensorSpec(name, dtype, values.shape) for name, (dtype, values) in found.items()]
    values = (array for _, array in found.values())
    if metadata is None and any(spec.dtype not in safetensors.NAMES for spec in specs):
        target = folder / "arrays.npz"
        skeleton = pack([Member(f"{spec.name}.npy", EPOCH, False, 0, TENSORS, bytes((0, 1))) for spec in specs])
        write_npz(target, skeleton, specs, values)
        return target
    target = folder / "arrays.safetensors"
    safetensors.write(target, safetensors.canonical_skeleton(specs, metadata), specs, values)
    return target


def array_of(name: str, value: object) -> tuple[str, AnyArray]:
    """The element type and the values of an array of any library, little-endian and contiguous.

    Raises: ModelFileError; RecipeError for a type of numbers that a model file does not have.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _read_torch(name, value)
    try:
        array: AnyArray = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{name}: expected an array, got {type(value).__name__}: {error}") from error
    if array.dtype.name in ML_DTYPES:
        dtype = ML_DTYPES[array.dtype.name]
        return dtype, np.ascontiguousarray(array).view(numpy_type(dtype)).reshape(array.shape)
    dtype = DTYPE_OF_CODE.get(array.dtype.str[1:], "")
    # Types of other packages than numpy (isbuiltin is 2), and records of fields, have the codes of opaque bytes.
    if array.dtype.isbuiltin == 2 or array.dtype.names:
        taken = ", ".join((*(known for known in DTYPE_OF_CODE.values() if known[:5] != "bytes"), *ML_DTYPES))
        raise RecipeError(f"{name}: expected an array of {taken}, got one of {array.dtype}")
    if not dtype or array.dtype.hasobject:
        raise ModelFileError(f"{name}: expected an array of numbers, got {type(value).__name__} of {array.dtype}")
    return dtype, np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)


def _read_torch(name: str, tensor: object) -> tuple[str, AnyArray]:
    from wcodec.modelfiles.pytorch import TYPES, values_of

    kind = str(getattr(tensor, "dtype", "")).removeprefix("torch.")
    if kind not in TYPES or str(getattr(tensor, "layout", "")) != "torch.strided":
        raise ModelFileError(f"{name}: expected a dense tensor of numbers, got one of {kind}")
    return TYPES[kind], values_of(tensor, TYPES[kind])


@cache
def _list_ml_dtypes() -> dict[str, np.dtype[np.generic]]:
    """The numpy types of `ml_dtypes` by wcodec's names; empty if the package is not installed."""
    if find_spec("ml_dtypes") is None:
        return {}
    module = import_module("ml_dtypes")
    return {ours: np.dtype(getattr(module, theirs)) for theirs, ours in ML_DTYPES.items()}


def as_numbers(values: AnyArray, dtype: str) -> AnyArray:
    """Decoded values as an array for arithmetic.

    bfloat16 and float8 get the types of `ml_dtypes`. Without that package bfloat16 becomes float32, and float8 stays
    uint8.
    """
    if dtype not in ML_DTYPES.values():
        return values
    if found := _list_ml_dtypes().get(dtype):
        return values.view(found)
    return to_float32(values, dtype) if dtype == "bfloat16" else values
