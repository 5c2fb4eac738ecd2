"""PyTorch `.pt`, `.pth`, `.bin`: read by `torch.load(weights_only=True)`, and decoded to safetensors."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wcodec.container.dtypes import numpy_type
from wcodec.errors import ModelFileError
from wcodec.model import AnyArray, Model, Tensor
from wcodec.modelfiles.safetensors import NAMES, canonical_skeleton

if TYPE_CHECKING:
    from torch import Tensor as TorchTensor


MAX_DEPTH = 16
REFUSED_CLASS = re.compile(r"(?:GLOBAL|[Uu]nsupported class) ([\w.]+)")
"""The class or function in a refusal of `torch.load`."""
ADVICE = ("Weights only load failed", "(1)", "(2)")
"""Starts of lines of its advice."""
TYPES = {dtype: dtype for dtype in NAMES if dtype != "float8_e4m3"} | {"float8_e4m3fn": "float8_e4m3"}
"""Tensor types by PyTorch's names: all that `.safetensors` has."""
OPTIMIZER = "optimizer"


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """A context manager of the tensors of a checkpoint, named by their keys joined with dots. Other objects are left
    out.

    Raises: ModelFileError, also if PyTorch is not installed, or if loading would run code.
    """
    found = dict(_list_tensors(_load(path), "", 0))
    dropped = () if keep_optimizer else tuple(name for name in found if name.split(".")[0].startswith(OPTIMIZER))
    tensors = []
    for name, tensor in found.items():
        if name in dropped:
            continue
        dtype = TYPES.get(str(tensor.dtype).removeprefix("torch."))
        if dtype is None:
            raise ModelFileError(f"{path}, {name}: tensors of type {tensor.dtype} are not supported")
        shape, layer = tuple(tensor.shape), name.rpartition(".")[0]
        tensors.append(Tensor(name, dtype, shape, layer, read=partial(values_of, tensor, dtype)))
    if not tensors:
        raise ModelFileError(f"{path}: expected a checkpoint with tensors, found none")
    yield Model("safetensors", tuple(tensors), canonical_skeleton(tensors), path.stat().st_size, dropped)


def _load(path: Path) -> object:
    try:
        import torch
    except ImportError as error:
        raise ModelFileError(
            f"{path}: is a PyTorch checkpoint: torch.load(weights_only=True) needs wcodec[torch]; "
            "or encode it with --lossless, or save it as .safetensors"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mapped = zipfile.is_zipfile(path)
            checkpoint: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged or hostile pickle can make torch raise anything
        raise ModelFileError(f"{path}: torch.load(weights_only=True) refuses it: {_describe_refusal(error)}") from error
    return checkpoint


def _describe_refusal(error: Exception) -> str:
    """The error of `torch.load` on one line, without its advice to unpickle."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).rpartition("WeightsUnpickler error:")[2]
    if found := REFUSED_CLASS.search(said):
        return (
            f"it has pickled objects (a whole module, or {found[1]}), whose code would run; "
            "save model.state_dict() in place of the model"
        )
    lines = (line.strip() for line in said.splitlines())
    return next((line for line in lines if line and not line.startswith(ADVICE)), type(error).__name__)


def _list_tensors(thing: object, name: str, depth: int) -> Iterator[tuple[str, TorchTensor]]:
    import torch

    if isinstance(thing, torch.Tensor):
        if thing.layout == torch.strided and not thing.is_quantized:
            yield name or "tensor", thing.detach()
    elif isinstance(thing, Mapping) and depth < MAX_DEPTH:
        for key, value in thing.items():
            yield from _list_tensors(value, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(thing, list | tuple) and depth < MAX_DEPTH:
        for number, value in enumerate(thing):
            yield from _list_tensors(value, f"{name}.{number}" if name else str(number), depth + 1)


def values_of(tensor: TorchTensor, dtype: str) -> AnyArray:
    """The values of a PyTorch tensor on any device, of the element type `dtype`."""
    import torch

    whole = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    raw: AnyArray = np.array(whole.numpy()) if tensor.numel() else np.empty(0, np.uint8)
    return raw.view(numpy_type(dtype)).reshape(tuple(tensor.shape))
