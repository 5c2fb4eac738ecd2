"""The mapping from a network's weights to the tensors of the file from which it was loaded."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from wcodec.evaluation.examples import Array
from wcodec.evaluation.keras_backend import keras
from wcodec.model import Model as ModelFile

if TYPE_CHECKING:
    from keras import Model

Print = tuple[tuple[int, ...], bytes]


def tensor_names(model: Model, file: ModelFile) -> dict[int, tuple[str, ...]]:
    """By position in `model.weights` the names of the file's tensors with the same shape and bytes.

    A shared layer may be stored more than once; all its names are given. Equal weights are matched by their order, if
    there are as many tensors. A weight that was changed in loading is not in the result.
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


def _print(values: Array, shape: tuple[int, ...]) -> Print:
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return shape, hashlib.blake2b(raw.data, digest_size=16, usedforsecurity=False).digest()
