"""What a user's function returned, as arrays: arrays already, or batches that are gathered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from wcodec.errors import RecipeError
from wcodec.learning.examples import Array, Found, ModelInput

STREAM_LIMIT: Final = 1 << 16
"""Generators of Keras often never end: without a limit, gathering stops after this many examples."""


def gather(spec: str, returned: object, wanted: tuple[ModelInput, ...], limit: int | None) -> Found:
    """The arrays in x or (x, y), or the first `limit` examples of batches of such.

    x is an array, a list of arrays in the order of the network's inputs, or a dict of arrays by their names.

    Raises: RecipeError where it is none of these, or holds objects.
    """
    names = tuple(want.name for want in wanted)
    if _is_batch(returned):
        inputs, labels = _split(spec, returned, names)
        return Found(spec, names, inputs, labels)
    most = STREAM_LIMIT if limit is None else limit
    parts: list[tuple[tuple[Array, ...], Array | None]] = []
    count = 0
    try:
        for batch in _batches(spec, returned):
            parts.append(_split(spec, batch, names))
            count += len(parts[-1][0][0])
            if count >= most:
                break
        inputs = tuple(np.concatenate([part[0][i] for part in parts])[:most] for i in range(len(names)))
        labels = _joined([part[1] for part in parts], most)
    except RecipeError:
        raise
    except Exception as exc:
        raise RecipeError(f"{spec}: expected batches of equal shape, got {type(exc).__name__}: {exc}") from exc
    ended = limit is None and count >= most
    said = (f"{spec}: stopped after {most} examples; --limit changes it",) if ended else ()
    return Found(spec, names, inputs, labels, said)


def _joined(labels: list[Array | None], most: int) -> Array | None:
    known = [part for part in labels if part is not None]
    return np.concatenate(known)[:most] if known and len(known) == len(labels) else None


def _is_batch(returned: object) -> bool:
    return isinstance(returned, tuple | list | Mapping) or hasattr(returned, "__array__")


def _batches(spec: str, returned: object) -> Iterator[object]:
    """Batches of a tf.data set, a generator, or a PyDataset (which is indexed, not iterated)."""
    if hasattr(returned, "as_numpy_iterator"):
        yield from returned.as_numpy_iterator()
    elif isinstance(returned, Iterable):
        yield from returned
    elif hasattr(returned, "__getitem__") and hasattr(returned, "__len__"):
        yield from (returned[i] for i in range(len(returned)))
    else:
        raise RecipeError(f"{spec}: expected x, (x, y) or batches of them, got {type(returned).__name__}")


def _split(spec: str, batch: object, names: tuple[str, ...]) -> tuple[tuple[Array, ...], Array | None]:
    """The inputs in the network's order, and the labels of x or (x, y)."""
    x, y = batch if isinstance(batch, tuple) and len(batch) == 2 else (batch, None)
    if isinstance(batch, tuple) and len(batch) != 2:
        raise RecipeError(f"{spec}: expected x or (x, y), got a tuple of {len(batch)}")
    if isinstance(x, Mapping):
        if set(x) != set(names):
            raise RecipeError(f"{spec}: expected inputs {', '.join(names)}, got {', '.join(map(str, x))}")
        several = [x[name] for name in names]
    else:
        several = list(x) if isinstance(x, list | tuple) and len(names) > 1 else [x]
    return tuple(_plain(spec, array) for array in several), None if y is None else _plain(spec, y)


def _plain(spec: str, value: object) -> Array:
    try:
        array: Array = np.asarray(value)
    except (ValueError, TypeError) as exc:
        raise RecipeError(f"{spec}: expected an array, got {type(value).__name__}: {exc}") from exc
    if array.dtype == object or array.ndim == 0:
        raise RecipeError(f"{spec}: expected an array of numbers, examples first, got {type(value).__name__}")
    return array
