"""Examples for a network: arrays fitted to its inputs, with notes on every change to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.errors import RecipeError

MAX_HELD_OUT: Final = 2000
"""The largest number of held-out examples, or of their predictions where an example has several."""
MAX_LABELLED: Final = 10_000
"""The same for training with labels. It is judged by counted labels, which are less exact than the outputs of the
original, by which a rounded network is judged."""
MIN_HELD_OUT: Final = 200
"""The number of held-out examples that is enough if each has many predictions."""

Array = npt.NDArray[np.generic]
Batches = Sequence[tuple[Array, ...]]
Shape = tuple[int | None, ...]
Labels = tuple[Array | None, ...]
"""The labels of each output of a network; None for an output without labels. The last outputs may be left out."""


@dataclass(frozen=True)
class ModelInput:
    """One input of a network.

    shape:    of one example; None for an axis of any length, or instead of the shape if any shape is allowed.
    dtype:    the declared type, "any" if there is none; integers (but bytes for "any") are never rescaled.
    rescales: the network scales pixels itself (a Rescaling or Normalization layer).
    """

    name: str
    shape: Shape | None
    dtype: str = "float32"
    rescales: bool = False


@dataclass(frozen=True)
class Examples:
    """The examples on which a network is measured.

    inputs: one array for each input of the network, in its order, examples along the first axis.
    labels: class numbers, one-hot rows or target values of each output, examples along the first axis.
    notes:  sentences about assumptions and changes.
    """

    inputs: tuple[Array, ...]
    labels: Labels = ()
    notes: tuple[str, ...] = ()

    @property
    def is_labelled(self) -> bool:
        """Whether an output has labels."""
        return any(one is not None for one in self.labels)

    def take(self, rows: npt.NDArray[np.intp]) -> Examples:
        """These examples, without the notes."""
        labels = tuple(None if one is None else one[rows] for one in self.labels)
        return Examples(tuple(array[rows] for array in self.inputs), labels)

    @property
    def count(self) -> int:
        """The number of examples."""
        return len(self.inputs[0])


@dataclass(frozen=True)
class RawExamples:
    """Arrays as they were found, before they are fitted to a network.

    where: the user's words for the place, for errors.
    names: the name of each input there.
    """

    where: str
    names: tuple[str, ...]
    inputs: tuple[Array, ...]
    labels: Labels = ()
    notes: tuple[str, ...] = ()


def fit_examples(
    found: RawExamples, wanted: tuple[ModelInput, ...], rescale: float | None, limit: int | None
) -> Examples:
    """`found` limited to `limit` examples spread evenly, scaled, and reshaped for the network.

    Raises: RecipeError if counts or shapes do not fit.
    """
    if len(found.inputs) != len(wanted):
        raise RecipeError(
            f"{found.where}: expected {len(wanted)} inputs ({', '.join(w.name for w in wanted)}), "
            f"got {len(found.inputs)} ({', '.join(found.names)})"
        )
    if rescale is not None and not 0 < abs(rescale) < math.inf:
        raise RecipeError(f"--rescale: expected a finite number other than 0, got {rescale:g}")
    columns = [*zip(found.names, found.inputs, strict=True)]
    columns += [("labels", one) for one in found.labels if one is not None]
    counts = [(name, len(array) if array.ndim else 0) for name, array in columns]
    count = counts[0][1]
    if {length for _, length in counts} != {count} or count == 0:
        raise RecipeError(f"{found.where}: expected as many examples everywhere, and one at least, got {dict(counts)}")
    notes = list(found.notes)
    chosen: slice | npt.NDArray[np.intp] = slice(None)
    if limit is not None and limit < count:
        chosen = np.linspace(0, count - 1, limit).round().astype(np.intp)
        notes.append(f"{limit:,} of {count:,} examples, spread evenly")
    inputs = []
    for name, array, want in zip(found.names, found.inputs, wanted, strict=True):
        place = f"{found.where}: {name}"
        scaled, how_scaled = _scale_pixels(place, array[chosen], want, rescale)
        _refuse_not_numbers(place, scaled)
        shaped, how_shaped = _reshape(place, scaled, want)
        inputs.append(shaped)
        notes += [f"{name} {how}" for how in (how_scaled, how_shaped) if how]
    labels = tuple(None if one is None else one[chosen] for one in found.labels)
    for number, one in enumerate(labels):
        if one is not None:
            _refuse_not_numbers(f"{found.where}: labels" + (f" of output {number}" if len(labels) > 1 else ""), one)
    return Examples(tuple(inputs), labels, tuple(notes))


def _refuse_not_numbers(place: str, array: Array) -> None:
    """Raises: RecipeError for texts, or with the first example that has NaN or infinity."""
    if array.dtype.kind in "OSUMmc":
        raise RecipeError(f"{place}: expected numbers, got {array.dtype}")
    if array.dtype.kind != "f":
        return
    if not (finite := np.isfinite(array.reshape(len(array), -1)).all(axis=1)).all():
        bad = np.flatnonzero(~finite)
        raise RecipeError(
            f"{place}: expected finite numbers, got NaN or infinity in {len(bad):,} of {len(array):,} examples, "
            f"the first of them number {bad[0]:,}"
        )


def _scale_pixels(place: str, array: Array, want: ModelInput, rescale: float | None) -> tuple[Array, str]:
    """uint8 pixels as float32 in 0..1 (or times `rescale`), and a note; other numbers are unchanged, in 32 bits."""
    if array.dtype.kind not in "biuf":
        raise RecipeError(f"{place}: expected numbers, got {array.dtype}")
    undeclared = want.dtype == "any" and (array.dtype.kind == "f" or array.dtype == np.uint8)
    if not want.dtype.startswith(("float", "bfloat")) and not undeclared:
        if rescale is not None:
            raise RecipeError(f"{place}: --rescale expected a network with float inputs, got {want.dtype}")
        return array, ""
    if rescale is not None:
        return array.astype(np.float32) * np.float32(rescale), f"multiplied by {rescale:g}"
    if array.dtype == np.uint8 and want.rescales:
        return array.astype(np.float32), "kept at 0..255: the network rescales them"
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255), "divided by 255"
    return array.astype(np.float32, copy=False), ""


def _reshape(place: str, array: Array, want: ModelInput) -> tuple[Array, str]:
    """`array` in a shape that the network accepts, and a note."""
    got = array.shape[1:]
    if want.shape is None or matches(got, want.shape):
        return array, ""
    if matches((*got, 1), want.shape):
        return array[..., None], "given a channel axis"
    if matches((1, *got), want.shape):
        return array[:, None], "given a channel axis"
    if len(got) > 1 and matches((got[-1], *got[:-1]), want.shape):
        return np.moveaxis(array, -1, 1), "given its channels first"
    if got[-1:] == (1,) and matches(got[:-1], want.shape):
        return array[..., 0], "without its channel axis"
    known = [length for length in want.shape if length is not None]
    if 1 in (len(got), len(want.shape)) and len(known) == len(want.shape) and math.prod(got) == math.prod(known):
        return array.reshape(len(array), *known), f"reshaped to {tuple(known)}"
    expected = ", ".join("any" if length is None else str(length) for length in want.shape)
    raise RecipeError(f"{place}: expected examples of shape ({expected}) for input {want.name}, got {got}")


def matches(got: tuple[int, ...], want: Shape) -> bool:
    """Whether an example of shape `got` is accepted for `want`."""
    return len(got) == len(want) and all(w in (None, g) for g, w in zip(got, want, strict=True))


def hold_out(examples: Examples, predictions: int = 1, most: int = MAX_HELD_OUT) -> tuple[Examples, Examples]:
    """The examples to learn from, and the held-out ones: a fifth, at most `most`, spread evenly.

    predictions: of one example, see `inference.count_predictions`; with several, fewer examples are enough.
    Raises: RecipeError for fewer than ten.
    """
    if examples.count < 10:
        raise RecipeError(f"--data: expected 10 examples or more, got {examples.count}")
    most = max(MIN_HELD_OUT, most // predictions)
    held_out = spread_evenly(np.arange(examples.count), min(examples.count // 5, most))
    return examples.take(np.setdiff1d(np.arange(examples.count), held_out)), examples.take(held_out)


def spread_evenly(numbers: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most `most` of `numbers`, evenly spaced."""
    if most >= len(numbers):
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).round().astype(np.intp)]
