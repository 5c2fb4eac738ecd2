"""Loading of the weights of a model file into an `nn.Module`, by name."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.container.dtypes import to_float32
from wcodec.errors import ModelFileError
from wcodec.evaluation.examples import Array, ModelInput
from wcodec.evaluation.torch_backend import TorchRunner, TorchWeight, storage_of
from wcodec.model import FLOATS
from wcodec.modelfiles import open_model

if TYPE_CHECKING:
    from torch import Tensor, nn


def is_module(value: object) -> bool:
    """Whether this is an `nn.Module`."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def load_torch(module: nn.Module, path: Path, name: str) -> TorchRunner:
    """A copy of the module with the weights of a file, in inference mode. name: of the file, for messages.

    Raises: ModelFileError if the file lacks parameters of the module, or has them in another shape.
    """
    module = copy.deepcopy(module).eval()  # the user's module is not changed
    with open_model(path, keep_optimizer=True) as file:
        arrays = {
            one.name: to_float32(one.read(), one.dtype) if one.dtype in FLOATS else one.read() for one in file.tensors
        }
    state: dict[str, Tensor] = module.state_dict(keep_vars=True)
    cut, added = _find_prefixes(list(state), list(arrays))
    weights: dict[tuple[int, tuple[int, ...], int], TorchWeight] = {}
    missing = []
    for key, tensor in state.items():
        stored = added + key.removeprefix(cut)
        where = (storage_of(tensor), tuple(tensor.shape), tensor.storage_offset())
        before = weights.get(where)
        if tensor.is_floating_point():
            names = (*(before.names if before else ()), *([stored] if stored in arrays else []))
            weights[where] = TorchWeight(names, tensor)
        if stored not in arrays:
            if tensor.is_floating_point():
                missing.append((stored, where))
            continue
        if arrays[stored].shape != tuple(tensor.shape):
            raise ModelFileError(
                f"{name}: expected {stored} of shape {tuple(tensor.shape)} for the module, got {arrays[stored].shape}"
            )
        TorchWeight((stored,), tensor).assign(arrays[stored])
    if lacking := [stored for stored, where in missing if not weights[where].names]:
        raise ModelFileError(
            f"{name}: expected tensors {', '.join(lacking[:3])} for the module, found {_list_few(arrays)}"
        )
    return TorchRunner(name, module, _find_inputs(module), list(weights.values()))


def _list_few(names: Mapping[str, Array]) -> str:
    return ", ".join(list(names)[:3]) + (", ..." if len(names) > 3 else "")


def _find_prefixes(keys: Sequence[str], names: Sequence[str]) -> tuple[str, str]:
    """The prefixes to remove from the module's names and to add to them, so that most are names of the file."""
    known = set(names)
    pairs = {("", "")}
    for key in keys[:1]:
        pairs |= {("", name.removesuffix(key)) for name in names if name.endswith(f".{key}")}
    parts = (keys[0] if keys else "").split(".")
    pairs |= {(".".join(parts[:depth]) + ".", "") for depth in range(1, len(parts))}
    return max(sorted(pairs), key=lambda pair: sum(pair[1] + key.removeprefix(pair[0]) in known for key in keys))


def _find_inputs(module: nn.Module) -> tuple[ModelInput, ...]:
    """One input for each parameter of `forward` without a default, at least one. Their shapes are not declared."""
    torch = sys.modules["torch"]
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = [one for one in parameters if one.kind in plain and one.default is one.empty] or parameters[:1]
    names = [one.name for one in given] or ["x"]
    first = next((one for one in module.modules() if next(one.parameters(recurse=False), None) is not None), None)
    shape = None
    if isinstance(first, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Conv3d) and first is _find_first_module(module):
        shape = (first.in_channels, *(None for _ in first.kernel_size))
    return tuple(ModelInput(name, shape if len(names) == 1 else None, "any") for name in names)


def _find_first_module(module: nn.Module) -> nn.Module:
    """The innermost first module of nested nn.Sequentials."""
    torch = sys.modules["torch"]
    while isinstance(module, torch.nn.Sequential) and len(module):
        module = module[0]
    return module
