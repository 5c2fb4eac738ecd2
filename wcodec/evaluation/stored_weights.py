"""The weights of a file in a Keras network: assigned from a file of weights alone, and checked before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wcodec.container.dtypes import to_float32
from wcodec.errors import ModelFileError
from wcodec.evaluation.examples import Array
from wcodec.model import FLOATS
from wcodec.modelfiles import open_model

if TYPE_CHECKING:
    from keras import Model


def set_weights(model: Model, path: Path, name: str) -> None:
    """Assign the arrays of `path` to `model`: by the weights' paths if all are there, otherwise in the order of the
    file.

    Raises: ModelFileError if neither names nor shapes fit.
    """
    with open_model(path, keep_optimizer=True) as file:
        arrays: dict[str, Array] = {
            one.name: to_float32(one.read(), one.dtype) if one.dtype in FLOATS else one.read() for one in file.tensors
        }
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
    """The one array whose name ends with `path`; loading may remove the outermost name from the weights' paths."""
    parts = path.split("/")
    ends = [(name.replace(".", "/").split("/"), array) for name, array in arrays.items()]
    found = [array for end, array in ends if end[-len(parts) :] == parts[-len(end) :]]
    return found[0] if len(found) == 1 else None


def refuse_infinite_weights(model: Model, name: str) -> None:
    """Raises: ModelFileError if a weight of a network that is to be trained is NaN or infinite.

    name: of its file, for the message.
    """
    for weight in model.weights:
        values = np.asarray(weight)
        if not np.issubdtype(values.dtype, np.integer) and not np.isfinite(values).all():
            found = "NaN" if np.isnan(values).any() else "infinity"
            raise ModelFileError(f"{name}: expected finite weights to train, got {found} in {weight.path}")
