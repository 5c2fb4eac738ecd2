"""Second moments of what a layer's kernels meet, watched while the network runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.learning.backend import hushed
from wcodec.learning.examples import Array
from wcodec.learning.predict import packed
from wcodec.learning.sites import Arguments, Site

if TYPE_CHECKING:
    from keras import Layer, Model

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Batches = Sequence[tuple[Array, ...]]
Call = Callable[[Callable[..., object], Arguments, dict[str, object]], object]

ROWS: Final = 40_000
"""Rows of inputs that are enough for moments."""
ELEMENTS: Final = 1 << 27
"""Numbers in the rows of one site, at most."""
WIDEST: Final = 4096
"""Inputs of one matrix of moments; wider kernels get several, and no feedback between them."""


class _SeenAll(BaseException):
    """Ends a run of the network once the layer that is watched has had all its calls. Not an error."""


@contextmanager
def watched(layer: Layer, watch: Call) -> Iterator[None]:
    """While open, each eager call of `layer` is `watch(its own call, positional arguments, named arguments)`."""
    own = layer.call
    # Keras tracks attributes that are set the usual way.
    object.__setattr__(layer, "call", lambda *given, **named: watch(own, given, named))
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def count_calls(model: Model, layers: Sequence[Layer], batch: tuple[Array, ...]) -> list[int]:
    """How often each layer is called for a batch: more than once where it is shared, or steps through a sequence."""
    counts = [0] * len(layers)

    def counting(number: int) -> Call:
        def watch(own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
            counts[number] += 1
            return own(*given, **named)

        return watch

    with ExitStack() as stack, hushed():
        for number, layer in enumerate(layers):
            stack.enter_context(watched(layer, counting(number)))
        model(packed(model, batch), training=False)
    return counts


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


@dataclass(frozen=True)
class Moments:
    """Of rows x that meet a kernel, and rows x0 that met it in the original network; float64[inputs, inputs].

    power: E[x x'].
    drift: E[x (x0 - x)'], None where both are the same.
    """

    power: Float64
    drift: Float64 | None


def moments(
    sites: Sequence[Site], met: Iterable[tuple[Float32, ...]], originals: Iterable[tuple[Float32, ...]] | None
) -> list[tuple[Moments, ...]]:
    """For each site the moments of its rows; several, side by side, for a kernel of more than WIDEST inputs.

    met, originals: of `rows_met`.
    """
    parts = [parts_of(site) for site in sites]
    powers = [[np.zeros((part.stop - part.start,) * 2) for part in cut] for cut in parts]
    drifts = [[np.zeros_like(power) for power in cut] for cut in powers]
    counts = [0] * len(sites)
    for rows, before in zip(met, itertools.repeat(None) if originals is None else originals, strict=False):
        for number, (x, cut) in enumerate(zip(rows, parts, strict=True)):
            counts[number] += len(x)
            for power, drift, part in zip(powers[number], drifts[number], cut, strict=True):
                np.add(power, x[:, part].T @ x[:, part], out=power)
                if before is not None:
                    np.add(drift, x[:, part].T @ (before[number][:, part] - x[:, part]), out=drift)
    return [
        tuple(
            Moments(a / max(count, 1), None if originals is None else b / max(count, 1))
            for a, b in zip(p, d, strict=True)
        )
        for p, d, count in zip(powers, drifts, counts, strict=True)
    ]


def inputs_of(site: Site) -> int:
    """Rows of the site's matrix."""
    return math.prod(site.variable.shape[axis] for axis in site.order[: site.inputs])


def parts_of(site: Site) -> list[slice]:
    """The inputs in equal parts of at most WIDEST."""
    inputs = inputs_of(site)
    parts = -(-inputs // WIDEST)
    return [slice(a, b) for a, b in itertools.pairwise(inputs * i // parts for i in range(parts + 1))]
