"""Weights from archives that know names or an order, but no network: .npz and .safetensors."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wcodec.errors import ModelFileError, RecipeError
from wcodec.learning.examples import Array

if TYPE_CHECKING:
    from keras import Model


def set_weights(model: Model, path: Path, name: str) -> None:
    """Give `model` the arrays of `path`: by the weights' paths where all are there, else in the order of the file.

    Raises: ModelFileError where neither names nor shapes fit.
    """
    arrays = _read(path, name)
    weights = {weight.path: tuple(weight.shape) for weight in model.weights}
    named = [_by_path(arrays, path) for path in weights]
    chosen = [array for array in named if array is not None]
    if len(chosen) < len(weights):
        chosen = list(arrays.values())
    shapes = [array.shape for array in chosen]
    if shapes != list(weights.values()):
        wrong = [f"{w} {s}" for (w, s), got in zip(weights.items(), shapes, strict=False) if s != got][:1]
        expected = wrong[0] if wrong else f"{len(weights)} weights"
        raise ModelFileError(
            f"{name}: expected arrays that fit {model.name} in name or order ({expected}), got {shapes}"
        )
    model.set_weights(chosen)


def _by_path(arrays: dict[str, Array], path: str) -> Array | None:
    """The one array whose name ends like `path`: loading may drop the outermost name from the weights' paths."""
    parts = path.split("/")
    ends = [(name.replace(".", "/").split("/"), array) for name, array in arrays.items()]
    found = [array for end, array in ends if end[-len(parts) :] == parts[-len(end) :]]
    return found[0] if len(found) == 1 else None


def _read(path: Path, name: str) -> dict[str, Array]:
    try:
        if zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return dict(np.load(file, allow_pickle=False))
        safetensors = importlib.import_module("safetensors.numpy")
    except ImportError as exc:
        raise RecipeError(f"{name}: expected the package safetensors: pip install safetensors") from exc
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as exc:
        raise ModelFileError(f"{name}: expected plain arrays, got {type(exc).__name__}: {exc}") from exc
    try:
        loaded: dict[str, Array] = safetensors.load_file(path)
    except Exception as exc:
        raise ModelFileError(f"{name}: expected a safetensors file, got {type(exc).__name__}: {exc}") from exc
    return loaded
