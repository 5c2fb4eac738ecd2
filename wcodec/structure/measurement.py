"""The smaller network beside the original: parameters, multiply-adds, accuracy, time, and a row a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wcodec.evaluation.evaluate import Evaluation, evaluate
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import kl_divergence
from wcodec.structure.bench import Bench
from wcodec.structure.cost import cost_of
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.rebuild import keeps
from wcodec.structure.request import LayerWidth, Measured, Slimmed
from wcodec.structure.speed import BATCHES, seconds_of

if TYPE_CHECKING:
    from keras import Model


def measured(bench: Bench, small: Model, kept: Mask | None) -> Slimmed:
    """Measure both networks on the examples that were kept apart.

    kept: bool[units] where the smaller network is the original with some of its units.
    """
    graph = bench.graph
    all_units = None if graph is None else np.ones(graph.count, bool)
    macs: tuple[float, float] | None = None
    if graph is not None and all_units is not None and kept is not None:
        macs = cost_of(graph, all_units).macs, cost_of(graph, kept).macs
    apart = bench.apart
    numbers = None if apart is None else evaluate(small, apart, bench.model)
    seconds = {batch: seconds_of((bench.model, small), batch) for batch in BATCHES}
    times = [{batch: both[number] for batch, both in seconds.items()} for number in (0, 1)]
    one = _described(bench.model, macs and macs[0], None if apart is None else evaluate(bench.model, apart), times[0])
    other = _described(small, macs and macs[1], numbers, times[1])
    diverged = (
        None if apart is None else kl_divergence(compute_outputs(small, apart), compute_outputs(bench.model, apart))
    )
    layers = () if graph is None or kept is None else widths(graph, kept)
    count = 0 if apart is None else apart.count
    return Slimmed(small, one, other, layers, count, numbers.agreement if numbers else None, diverged)


def _described(model: Model, macs: float | None, numbers: Evaluation | None, seconds: dict[int, float]) -> Measured:
    return Measured(
        parameters=model.count_params(),
        macs=macs,
        accuracy=numbers.accuracy if numbers else None,
        loss=numbers.loss if numbers else None,
        seconds=seconds,
    )


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
