"""Second moments of what a layer's kernels meet, watched while the network runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.learning.backend import hushed
from wcodec.learning.examples import Array
from wcodec.learning.predict import packed
from wcodec.learning.sites import Arguments, Site

if TYPE_CHECKING:
    from keras import Layer, Model

Float64 = npt.NDArray[np.float64]
Batches = Sequence[tuple[Array, ...]]
Call = Callable[[Callable[..., object], Arguments, dict[str, object]], object]

ROWS: Final = 40_000
"""Rows of inputs that are enough for moments."""
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


def moments(
    model: Model, layer: Layer, sites: Sequence[Site], batches: Batches, calls: int, seed: int
) -> list[list[Float64]]:
    """For each site E[x x'] float64[inputs, inputs] of the rows that meet it; several, side by side, where wide.

    batches: inputs of the network.
    calls:   of the layer, a batch. Each call gives its share of ROWS at most, drawn at random by `seed`.
    """
    rng = np.random.default_rng(seed)
    parts = [_parts(site) for site in sites]
    sums = [[np.zeros((part.stop - part.start,) * 2) for part in cut] for cut in parts]
    counts = [0] * len(sites)
    share = -(-ROWS // (len(batches) * calls))
    left = 0

    def watch(own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
        nonlocal left
        for number, site in enumerate(sites):
            rows = site.rows((*given, *named.values()), share, rng)
            counts[number] += len(rows)
            for total, part in zip(sums[number], parts[number], strict=True):
                np.add(total, rows[:, part].T @ rows[:, part], out=total)
        left -= 1
        if left == 0:
            raise _SeenAll
        return own(*given, **named)

    with watched(layer, watch), hushed():
        for batch in batches:
            left = calls
            with suppress(_SeenAll):
                model(packed(model, batch), training=False)
    return [[total / max(count, 1) for total in found] for found, count in zip(sums, counts, strict=True)]


def _parts(site: Site) -> list[slice]:
    """The inputs in equal parts of at most WIDEST."""
    inputs = int(np.prod([site.variable.shape[axis] for axis in site.order[: site.inputs]]))
    parts = -(-inputs // WIDEST)
    return [slice(a, b) for a, b in itertools.pairwise(inputs * i // parts for i in range(parts + 1))]
