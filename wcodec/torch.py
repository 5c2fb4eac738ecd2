"""The functions of `safetensors.torch` for .wcz files. Needs `wcodec[torch]`.

from wcodec.torch import load_file, save_file
save_file(model.state_dict(), "model.wcz")              # exact
save_file(model.state_dict(), "model.wcz", bits=8)      # with any option of `wcodec.encode`, as that codes
model.load_state_dict(load_file("model.wcz", device="cuda"))
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Unpack

from wcodec.api.front_doors import words_or_lossless
from wcodec.api.sources import Coded
from wcodec.api.verbs import encode
from wcodec.api.weights import read_stored_tensors
from wcodec.api.words import EncodeWords
from wcodec.errors import ModelFileError, RecipeError
from wcodec.model import AnyArray
from wcodec.modelfiles.arrays import write_arrays

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from wcodec.reporting.inspection import Inspection

try:
    import torch
except ImportError as error:
    raise RecipeError("wcodec.torch: expected PyTorch, it is missing: pip install 'wcodec[torch]'") from error


def save_file(
    tensors: Mapping[str, Tensor],
    filename: str | PathLike[str],
    metadata: Mapping[str, str] | None = None,
    **words: Unpack[EncodeWords],
) -> Inspection:
    """Write the .wcz of these tensors and return its numbers. Inverse: `load_file`.

    metadata: texts of a .safetensors file; `wcodec.decode` writes them there.
    words:    options of `wcodec.encode`; without a lossy one, everything is exact.
    Raises: ModelFileError if a value is not a dense tensor; errors of `wcodec.encode`.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ModelFileError(f"{name}: expected a tensor of PyTorch, got {type(tensor).__name__}")
    with TemporaryDirectory(prefix="wcodec-") as folder:
        return encode(write_arrays(Path(folder), tensors, metadata or {}), filename, **words_or_lossless(words))


def load_file(
    filename: Coded,
    device: str | int = "cpu",
    *,
    base: str | PathLike[str] | None = None,
    max_output: int | str | None = None,
    threads: int = 0,
) -> dict[str, Tensor]:
    """All tensors of a .wcz by name, on `device`. Inverse: `save_file`.

    Raises: ContainerError and its kinds.
    """
    found = read_stored_tensors(filename, base, max_output, threads)
    return {name: _make_tensor(values, dtype).to(device) for name, dtype, values in found}


def save_model(
    model: Module,
    /,
    filename: str | PathLike[str],
    metadata: Mapping[str, str] | None = None,
    **words: Unpack[EncodeWords],
) -> Inspection:
    """Write the .wcz of a module's state_dict; tensors that share memory are stored once. Inverse: `load_model`.

    Raises: errors of `save_file`.
    """
    return save_file(model.state_dict(), filename, metadata, **words)


def load_model(
    model: Module, filename: Coded, strict: bool = True, device: str | int = "cpu"
) -> tuple[list[str], list[str]]:
    """Assign the tensors of a .wcz to a module. Returns names missing in the file, and names that the module lacks.

    Raises: RuntimeError of PyTorch if `strict` and there are such names; ContainerError and its kinds.
    """
    found = model.load_state_dict(load_file(filename, device), strict=strict)
    return list(found.missing_keys), list(found.unexpected_keys)


_BY_BITS = {"bfloat16": "bfloat16", "float8_e4m3": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}


def _make_tensor(values: AnyArray, dtype: str) -> Tensor:
    if dtype in _BY_BITS:
        bits = torch.from_numpy(values.view("int16" if dtype == "bfloat16" else "uint8"))
        return bits.view(getattr(torch, _BY_BITS[dtype]))
    return torch.from_numpy(values)
