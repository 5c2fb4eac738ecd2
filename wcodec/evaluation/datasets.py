"""`--data`: from what the user names to examples that fit the network.

- D.npz: x (x0, x1 or x_<input> for several inputs) and, where there are labels, y
- D.npz:test: x_test and y_test, as in Keras' own files; so with any other word
- folder: images, one sub-folder a class (sorted: 0, 1, ...), or images alone, unlabelled
- module:function: arrays, or batches of them (generator, tf.data, PyDataset); the user's own code is run
- in Python, what such a function returns: arrays, (x, y), tf.data, PyDataset, a DataLoader of torch
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation import image_folder as images
from wcodec.evaluation import user_code
from wcodec.evaluation.examples import Array, Examples, ModelInput, RawExamples, fit_examples
from wcodec.modelfiles.zip_members import ZIP_ERRORS

NPZ = re.compile(r"(?P<path>.+\.npz)(:(?P<split>\w+))?", re.IGNORECASE)


def load_examples(
    spec: object, wanted: Sequence[ModelInput], *, rescale: float | None = None, limit: int | None = None
) -> Examples:
    """The examples that `spec` names, fit for a network with inputs `wanted`.

    rescale: factor for the inputs; None divides uint8 by 255 and leaves other numbers alone.
    limit:   take at most this many, spread evenly (of a stream: the first).

    Raises: RecipeError saying where, what was expected and what was found.
    """
    if limit is not None and limit < 1:
        raise RecipeError(f"--limit: expected 1 or more, got {limit}")
    wants = tuple(wanted)
    named = str(spec) if isinstance(spec, str | Path) else None
    found = gather("data", spec, wants, limit) if named is None else _read(named, wants, limit)
    return fit_examples(found, wants, rescale, limit)


def _read(spec: str, wanted: tuple[ModelInput, ...], limit: int | None) -> RawExamples:
    if spec and Path(spec).is_dir():
        return images.read(Path(spec), wanted, limit)
    if npz := NPZ.fullmatch(spec):
        return _read_npz(Path(npz["path"]), npz["split"], wanted)
    if user_code.is_function_name(spec):
        return gather(spec, user_code.call_function(spec), wanted, limit)
    raise RecipeError(f"--data {spec}: expected FILE.npz, FILE.npz:test, an image folder or module:function")


def _read_npz(path: Path, split: str | None, wanted: tuple[ModelInput, ...]) -> RawExamples:
    """The arrays of one split. Objects are never unpickled."""
    if not path.is_file():
        raise RecipeError(f"--data {path}: expected a file, found none")
    with open_npz(path) as archive:
        inputs, labels, notes = _chosen(path.name, list(archive), split, wanted)
        arrays = tuple(_array(path.name, name, archive[name]) for name in inputs)
        return RawExamples(path.name, inputs, arrays, archive[labels] if labels else None, notes)


@contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, Array]]:
    """The arrays of an `.npz` file by name, each read when it is looked up in the block. Nothing is unpickled.

    Raises: RecipeError where the file, or an array that is looked up, is no such thing.
    """
    try:
        with path.open("rb") as file:
            archive: Mapping[str, Array] = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("a single array")
            yield archive
    except (*ZIP_ERRORS, TypeError, AttributeError, MemoryError) as exc:
        why = "objects, which are never unpickled" if "bject" in str(exc) else f"{type(exc).__name__}: {exc}"
        raise RecipeError(f"{path.name}: expected an .npz archive of plain arrays, got {why}") from exc


def _array(where: str, name: str, array: Array) -> Array:
    if array.ndim == 0:
        raise RecipeError(f"{where}: {name}: expected an array with examples first, got a single number")
    return array


def _chosen(
    where: str, keys: list[str], split: str | None, wanted: tuple[ModelInput, ...]
) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
    """The keys of the inputs, the key of the labels if there is one, and what was assumed."""
    several = [tuple(f"x{i}" for i in range(len(wanted))), tuple(f"x_{want.name}" for want in wanted)]
    options: list[tuple[tuple[str, ...], str, tuple[str, ...]]]
    if split is not None:
        options = [((f"x_{split}",), f"y_{split}", ())]
    else:
        options = [(("x",), "y", ()), *((names, "y", ()) for names in several)]
        options.append((("x_test",), "y_test", (f"{where}: no split named, took test",)))
    for names, labels, notes in options:
        if len(names) == len(wanted) and set(names) <= set(keys):
            return names, labels if labels in keys else None, notes
    expected = " or ".join("+".join(names) for names, _, _ in options if len(names) == len(wanted)) or "one input"
    raise RecipeError(f"{where}: expected {expected}, found {', '.join(keys) or 'nothing'}")


STREAM_LIMIT: Final = 1 << 16
"""Generators of Keras often never end: without a limit, gathering stops after this many examples."""


def gather(spec: str, returned: object, wanted: tuple[ModelInput, ...], limit: int | None) -> RawExamples:
    """The arrays in x or (x, y), or the first `limit` examples of batches of such.

    x is an array, a list of arrays in the order of the network's inputs, or a dict of arrays by their names.

    Raises: RecipeError where it is none of these, or holds objects.
    """
    names = tuple(want.name for want in wanted)
    if _is_batch(returned):
        inputs, labels = _split(spec, returned, names)
        return RawExamples(spec, names, inputs, labels)
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
    notes = (f"{spec}: stopped after {most} examples; --limit changes it",) if ended else ()
    return RawExamples(spec, names, inputs, labels, notes)


def _joined(labels: list[Array | None], most: int) -> Array | None:
    known = [part for part in labels if part is not None]
    return np.concatenate(known)[:most] if known and len(known) == len(labels) else None


def _is_batch(returned: object) -> bool:
    return isinstance(returned, tuple | list | Mapping) or hasattr(returned, "__array__")


def _batches(spec: str, returned: object) -> Iterator[object]:
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
        array: Array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (ValueError, TypeError) as exc:
        raise RecipeError(f"{spec}: expected an array, got {type(value).__name__}: {exc}") from exc
    if array.dtype == object or array.ndim == 0:
        raise RecipeError(f"{spec}: expected an array of numbers, examples first, got {type(value).__name__}")
    return array
