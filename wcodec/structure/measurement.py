"""Comparison of the smaller network with the original: parameters, multiply-adds, accuracy, time, layers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from wcodec.errors import UnsupportedError
from wcodec.reporting.slim_report import LayerWidth, NetworkFacts
from wcodec.structure.bench import Bench
from wcodec.structure.cost import cost_of
from wcodec.structure.graph import Graph, Mask, trace
from wcodec.structure.narrowing import SmallerNetwork, compare
from wcodec.structure.rebuild import keeps
from wcodec.structure.request import Comparison, Slimmed
from wcodec.structure.speed import BATCHES, seconds_of

if TYPE_CHECKING:
    from keras import Model

Numbers: TypeAlias = tuple[float | None, float | None, float | None]
"""Accuracy, loss and R2."""


def measure(bench: Bench, made: SmallerNetwork, compared: Comparison | None) -> Slimmed:
    """The figures of both networks, without those of speed if there is no time left for them.

    compared: on the held-out examples, if there are any.
    """
    small, found = made.model, compared.evaluation if compared else None
    sizes = () if bench.deadline.is_over() else BATCHES
    seconds = {batch: seconds_of((bench.model, small), batch) for batch in sizes}
    if not sizes:
        bench.request.log("the speed is not measured: the time limit is over")
    before = (found.baseline_accuracy, found.baseline_loss, found.baseline_r2) if found else None
    after = (found.accuracy, found.loss, found.r2) if found else None
    one, other = (
        _describe(model, graph, numbers, {batch: both[number] for batch, both in seconds.items()})
        for number, (model, graph, numbers) in enumerate(((bench.model, bench.graph, before), (small, None, after)))
    )
    count, agreed = (found.examples, found.agreement) if found else (0, None)
    diverged = compared.divergence if compared else None
    lost = (compared.drop, compared.loss) if compared else (0.0, 0.0)
    lean = replace(bench, seen=None, learning=None)
    numbers = count, agreed, diverged, made.finished, bench.deadline, lost, partial(compare, lean)
    return Slimmed(small, one, other, _make_rows(bench, made), *numbers)


def _describe(model: Model, graph: Graph | None, numbers: Numbers | None, seconds: dict[int, float]) -> NetworkFacts:
    accuracy, loss, r2 = numbers or (None, None, None)
    return NetworkFacts(
        parameters=model.count_params(),
        macs=_count_macs(model, graph),
        accuracy=accuracy,
        loss=loss,
        seconds=seconds,
        r2=r2,
    )


def _count_macs(model: Model, graph: Graph | None) -> float | None:
    """Multiply-adds for one example, of the layers that are followed; None if no layer is."""
    try:
        graph = graph or trace(model)
    except UnsupportedError:
        return None
    return cost_of(graph, np.ones(graph.count, bool)).macs


def _make_rows(bench: Bench, made: SmallerNetwork) -> tuple[LayerWidth, ...]:
    """A row for each layer that has units, or a lower rank."""
    if bench.graph is not None and made.kept is not None:
        return widths(bench.graph, made.kept)
    return tuple(LayerWidth(name, "low rank", full, rank, "") for name, (full, rank) in made.ranks.items())


def widths(graph: Graph, kept: Mask) -> tuple[LayerWidth, ...]:
    """A row for each layer that has units."""
    return tuple(
        LayerWidth(
            size.layer.name,
            type(size.layer).__name__,
            len(size.units),
            int(keeps(size.units, kept).sum()),
            next((graph.frozen[unit] for unit in size.units.tolist() if unit in graph.frozen), ""),
        )
        for size in graph.sizes
        if type(size.layer).__name__ not in ("Reshape", "InputLayer")
    )
