"""`--data`: from what the user names to examples that fit the network.

- D.npz: x (x0, x1 or x_<input> for several inputs) and, where there are labels, y
- D.npz:test: x_test and y_test, as in Keras' own files; so with any other word
- folder: images, one sub-folder a class (sorted: 0, 1, ...), or images alone, unlabelled
- module:function: arrays, or batches of them (generator, tf.data, PyDataset); the user's own code is run
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wcodec.errors import RecipeError
from wcodec.learning import images, streams, user_code
from wcodec.learning.examples import Array, Examples, Found, ModelInput, fit

NPZ = re.compile(r"(?P<path>.+\.npz)(:(?P<split>\w+))?", re.IGNORECASE)


def load(
    spec: str, wanted: Sequence[ModelInput], *, rescale: float | None = None, limit: int | None = None
) -> Examples:
    """The examples that `spec` names, fit for a network with inputs `wanted`.

    rescale: factor for the inputs; None divides uint8 by 255 and leaves other numbers alone.
    limit:   take at most this many, spread evenly (of a stream: the first).

    Raises: RecipeError saying where, what was expected and what was found.
    """
    if limit is not None and limit < 1:
        raise RecipeError(f"--limit: expected 1 or more, got {limit}")
    wants = tuple(wanted)
    return fit(_found(spec, wants, limit), wants, rescale, limit)


def _found(spec: str, wanted: tuple[ModelInput, ...], limit: int | None) -> Found:
    if spec and Path(spec).is_dir():
        return images.read(Path(spec), wanted, limit)
    if npz := NPZ.fullmatch(spec):
        return _read_npz(Path(npz["path"]), npz["split"], wanted)
    if user_code.is_named(spec):
        return streams.gather(spec, user_code.called(spec), wanted, limit)
    raise RecipeError(f"--data {spec}: expected FILE.npz, FILE.npz:test, an image folder or module:function")


def _read_npz(path: Path, split: str | None, wanted: tuple[ModelInput, ...]) -> Found:
    """The arrays of one split. Objects are never unpickled."""
    if not path.is_file():
        raise RecipeError(f"--data {path}: expected a file, found none")
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("a single array")
            inputs, labels, said = _chosen(path.name, archive.files, split, wanted)
            arrays = tuple(_array(path.name, name, archive[name]) for name in inputs)
            return Found(path.name, inputs, arrays, archive[labels] if labels else None, said)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError) as exc:
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
    for names, labels, said in options:
        if len(names) == len(wanted) and set(names) <= set(keys):
            return names, labels if labels in keys else None, said
    expected = " or ".join("+".join(names) for names, _, _ in options if len(names) == len(wanted)) or "one input"
    raise RecipeError(f"{where}: expected {expected}, found {', '.join(keys) or 'nothing'}")
