"""Arrays, or batches of arrays, from a function or from Python: generators, tf.data, PyDataset, DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array, Labels, ModelInput, RawExamples

Names = tuple[str, ...]
"""The names of one output of a network."""
ONE_OUTPUT: Final[tuple[Names, ...]] = (("output",),)
FindOutputs: TypeAlias = Callable[[tuple[Array, ...]], tuple[Names, ...]]
"""A function that gives the names of each output, from inputs for a few examples."""
FEW: Final = 7
"""The number of examples for it: a size that other axes of outputs hardly have."""
STREAM_LIMIT: Final = 1 << 16
"""Generators for Keras are often endless: without a limit, gathering stops after this many examples."""


def gather(
    spec: str,
    returned: object,
    wanted: tuple[ModelInput, ...],
    limit: int | None,
    outputs: tuple[Names, ...] | FindOutputs = ONE_OUTPUT,
) -> RawExamples:
    """The arrays in x or (x, y), or the first `limit` examples of batches of them.

    x is an array, a list of arrays in the order of the network's inputs, or a dict of arrays by their names. y is the
    same for its outputs, without those that have no labels.
    Raises: RecipeError for other values, or for arrays of objects.
    """
    names = tuple(want.name for want in wanted)
    if _is_batch(returned):
        inputs, labels = _split(spec, returned, names, outputs)
        return RawExamples(spec, names, inputs, labels)
    most = STREAM_LIMIT if limit is None else limit
    parts: list[tuple[tuple[Array, ...], Labels]] = []
    count = 0
    try:
        for batch in _iterate_batches(spec, returned):
            parts.append(_split(spec, batch, names, outputs))
            count += len(parts[-1][0][0])
            if count >= most:
                break
        inputs = tuple(np.concatenate([part[0][i] for part in parts])[:most] for i in range(len(names)))
        labels = _join_labels([part[1] for part in parts], most)
    except RecipeError:
        raise
    except Exception as exc:
        raise RecipeError(f"{spec}: expected batches of equal shape, got {type(exc).__name__}: {exc}") from exc
    ended = limit is None and count >= most
    notes = (f"{spec}: stopped after {most:,} examples; --limit changes it",) if ended else ()
    return RawExamples(spec, names, inputs, labels, notes)


def _join_labels(labels: list[Labels], most: int) -> Labels:
    columns = zip(*labels, strict=True)
    known = [[part for part in column if part is not None] for column in columns]
    return tuple(np.concatenate(column)[:most] if column and len(column) == len(labels) else None for column in known)


def _is_batch(returned: object) -> bool:
    return isinstance(returned, tuple | list | Mapping) or hasattr(returned, "__array__")


def _iterate_batches(spec: str, returned: object) -> Iterator[object]:
    """Batches of a tf.data set, a generator, a DataLoader, or a PyDataset (which is indexed, not iterated)."""
    if hasattr(returned, "as_numpy_iterator"):
        yield from returned.as_numpy_iterator()
    elif hasattr(returned, "collate_fn") and isinstance(returned, Iterable):  # torch's, whose pairs are lists
        yield from (tuple(batch) if isinstance(batch, list) else batch for batch in returned)
    elif isinstance(returned, Iterable):
        yield from returned
    elif hasattr(returned, "__getitem__") and hasattr(returned, "__len__"):
        yield from (returned[i] for i in range(len(returned)))
    else:
        raise RecipeError(f"{spec}: expected x, (x, y) or batches of them, got {type(returned).__name__}")


def _split(
    spec: str, batch: object, names: tuple[str, ...], outputs: tuple[Names, ...] | FindOutputs
) -> tuple[tuple[Array, ...], Labels]:
    """The inputs in the network's order, and the labels, of x or (x, y)."""
    x, y = batch if isinstance(batch, tuple) and len(batch) == 2 else (batch, None)
    if isinstance(batch, tuple) and len(batch) != 2:
        raise RecipeError(f"{spec}: expected x or (x, y), got a tuple of {len(batch)}")
    if isinstance(x, Mapping):
        if set(x) != set(names):
            raise RecipeError(f"{spec}: expected inputs {', '.join(names)}, got {', '.join(map(str, x))}")
        several = [x[name] for name in names]
    else:
        several = list(x) if isinstance(x, list | tuple) and len(names) > 1 else [x]
    inputs = tuple(_to_plain(spec, array) for array in several)
    if y is None:
        return inputs, ()
    return inputs, _split_labels(spec, y, outputs if isinstance(outputs, tuple) else outputs(inputs))


def _split_labels(spec: str, y: object, outputs: tuple[Names, ...]) -> Labels:
    """Labels of each output, from those of the first, a list in the order of the outputs, or a dict by their names."""
    if isinstance(y, Mapping):
        found = [next((name for name in names if name in y), None) for names in outputs]
        if others := [str(name) for name in y if name not in found]:
            known = ", ".join(names[0] for names in outputs)
            raise RecipeError(f"{spec}: expected labels of outputs {known}, got {', '.join(others)}")
        return tuple(None if name is None else _to_plain(spec, y[name]) for name in found)
    if isinstance(y, list | tuple) and len(outputs) > 1:
        if len(y) != len(outputs):
            raise RecipeError(f"{spec}: expected labels of {len(outputs)} outputs, got {len(y)}")
        return tuple(None if one is None else _to_plain(spec, one) for one in y)
    return (_to_plain(spec, y),)


def _to_plain(spec: str, value: object) -> Array:
    try:
        array: Array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (ValueError, TypeError) as exc:
        raise RecipeError(f"{spec}: expected an array, got {type(value).__name__}: {exc}") from exc
    if array.dtype == object or array.ndim == 0:
        raise RecipeError(f"{spec}: expected an array of numbers, examples first, got {type(value).__name__}")
    return array
