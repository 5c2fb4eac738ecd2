"""From a network's weights back to the tensors of the file that it was loaded from."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from wcodec.allocation import exact_names
from wcodec.learning.attempt import Calibration
from wcodec.learning.backend import keras
from wcodec.learning.examples import Array
from wcodec.learning.kernels import Places
from wcodec.model import Model as ModelFile
from wcodec.model import Tuned
from wcodec.recipe import Recipe

if TYPE_CHECKING:
    from keras import Model

Print = tuple[tuple[int, ...], bytes]


def tensor_names(model: Model, file: ModelFile) -> dict[int, tuple[str, ...]]:
    """From places in `model.weights` to the names of the file's tensors with the same shape and bytes.

    A shared layer may be stored more than once: then all its names are given. Weights that are equal to one another go
    by their order, where there are as many tensors. A weight that was changed in loading has no names, and no place.
    """
    tensors: dict[Print, list[str]] = defaultdict(list)
    for tensor in file.tensors:
        tensors[_print(tensor.read(), tensor.shape)].append(tensor.name)
    weights: dict[Print, list[int]] = defaultdict(list)
    for index, variable in enumerate(model.weights):
        values = keras().ops.convert_to_numpy(variable)
        weights[_print(values, tuple(variable.shape))].append(index)
    names: dict[int, tuple[str, ...]] = {}
    for key, indices in weights.items():
        found = tensors.get(key, [])
        if found and len(indices) == 1:
            names[indices[0]] = tuple(found)
        elif len(found) == len(indices):
            names |= {index: (name,) for index, name in zip(indices, found, strict=True)}
    return dict(sorted(names.items()))


def exact_places(names: Mapping[int, tuple[str, ...]], file: ModelFile, recipe: Recipe) -> Places:
    """Places of the weights that the recipe codes exactly: they must stay as they are."""
    exact = exact_names(file, recipe)
    return frozenset(index for index, named in names.items() if not exact.isdisjoint(named))


def tuned_tensors(found: Calibration, names: Mapping[int, tuple[str, ...]]) -> dict[str, Tuned]:
    """What to code in place of the file's own values, by tensor name; weights without a name are left out.

    names: of `tensor_names`.
    """
    rounded = {
        name: Tuned(one.weights, one.step) for one in found.latents if one.step for name in names.get(one.index, ())
    }
    taken_anew = {name: Tuned(values) for index, values in found.statistics for name in names.get(index, ())}
    return rounded | taken_anew


def _print(values: Array, shape: tuple[int, ...]) -> Print:
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return shape, hashlib.blake2b(raw.data, digest_size=16, usedforsecurity=False).digest()
