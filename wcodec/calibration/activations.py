"""Second moments of what a layer's kernels meet, watched while the network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.hooks import watched
from wcodec.calibration.linear_ops import Arguments, Site, inputs_of
from wcodec.evaluation.examples import Batches
from wcodec.evaluation.inference import packed
from wcodec.evaluation.keras_backend import hushed

if TYPE_CHECKING:
    from keras import Layer, Model


Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

ROWS: Final = 40_000
"""Rows of inputs that are enough for moments."""
ELEMENTS: Final = 1 << 27
"""Numbers in the rows of one site, at most."""


class _SeenAll(BaseException):
    """Ends a run of the network once the layer that is watched has had all its calls. Not an error."""


def rows_met(
    model: Model, layer: Layer, sites: Sequence[Site], batches: Batches, calls: int, seed: int
) -> Iterator[tuple[Float32, ...]]:
    """For each batch and site the rows float32[rows, inputs] that meet the kernel, the same places for any weights.

    batches: inputs of the network.
    calls:   of the layer, a batch. Each gives its share of ROWS at most, drawn at random by `seed`.
    """
    share = _share(sites, len(batches), calls)
    for number, batch in enumerate(batches):
        rng = np.random.default_rng((seed, number))
        met: list[list[Float32]] = [[] for _ in sites]
        with watched(layer, partial(_keep, sites, met, [calls], share, rng)), hushed(), suppress(_SeenAll):
            model(packed(model, batch), training=False)
        yield tuple(np.concatenate(rows) for rows in met)


@dataclass(frozen=True)
class Watching:
    """A layer to watch, its sites, how often it is called for a batch, and for how many batches."""

    layer: Layer
    sites: Sequence[Site]
    calls: int
    batches: int


def rows_met_by_all(
    model: Model, watching: Sequence[Watching], batches: Batches, seed: int, most: int
) -> list[list[tuple[Float32, ...]]]:
    """What `rows_met` gives of each of these, from one run of the network; of the first only where `most` bytes end."""
    found: list[list[tuple[Float32, ...]]] = [[] for _ in watching]
    room = most
    for number, batch in enumerate(batches):
        seen = [(one, kept) for one, kept in zip(watching, found, strict=False) if number < one.batches]
        if not seen:
            break
        met: list[list[list[Float32]]] = [[[] for _ in one.sites] for one, _ in seen]
        with ExitStack() as stack, hushed():
            left = [sum(one.calls for one, _ in seen)]
            for (one, _), rows in zip(seen, met, strict=True):
                share = _share(one.sites, min(one.batches, len(batches)), one.calls)
                watch = partial(_keep, one.sites, rows, left, share, np.random.default_rng((seed, number)))
                stack.enter_context(watched(one.layer, watch))
            stack.enter_context(suppress(_SeenAll))
            model(packed(model, batch), training=False)
        for (_, kept), rows in zip(seen, met, strict=True):
            kept.append(tuple(np.concatenate(parts) for parts in rows))
            room -= sum(array.nbytes for array in kept[-1])
        while room < 0:
            room += sum(array.nbytes for arrays in found.pop() for array in arrays)
    return found


def _share(sites: Sequence[Site], batches: int, calls: int) -> int:
    """Rows of a call."""
    most = min(ROWS, ELEMENTS // max(inputs_of(site) for site in sites))
    return max(1, most // (batches * calls))


def _keep(
    sites: Sequence[Site],
    met: list[list[Float32]],
    left: list[int],
    share: int,
    rng: np.random.Generator,
    own: Callable[..., object],
    given: Arguments,
    named: dict[str, object],
) -> object:
    """One call of a layer that is watched; the last of those left, of all layers that are watched, ends the run."""
    for site, rows in zip(sites, met, strict=True):
        rows.append(site.rows((*given, *named.values()), share, rng))
    left[0] -= 1
    if left[0] == 0:
        raise _SeenAll
    return own(*given, **named)
