"""Criteria: scores of units, from their weights alone or with gradients. The units with the lowest scores are removed
first.

The score of a unit is its mean over all weights that compute it, each divided by its mean in that weight, so that
layers are comparable (Fang et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.keras_backend import keras
from wcodec.structure.graph import Graph
from wcodec.structure.units import NONE, WeightAxis

if TYPE_CHECKING:
    from keras import Variable

Float64 = npt.NDArray[np.float64]
Slices = Float64
"""A weight as float64[positions of an axis, everything else]."""

MOST: Final = 1 << 26
"""The largest number of filter distances in memory at once."""


def _score_l1(filters: Slices) -> Float64:
    """sum |w| (Li et al. 2017)."""
    found: Float64 = np.abs(filters).sum(axis=1)
    return found


def _score_l2(filters: Slices) -> Float64:
    """sqrt(sum w^2)."""
    found: Float64 = np.sqrt(np.square(filters).sum(axis=1))
    return found


def _score_geometric_median(filters: Slices) -> Float64:
    """The distance from all others, sum_j ||w_i - w_j|| (He et al. 2019)."""
    squares = np.square(filters).sum(axis=1)
    found = np.empty(len(filters))
    step = max(1, MOST // max(len(filters), 1))
    for start in range(0, len(filters), step):
        part = filters[start : start + step]
        apart = squares[start : start + step, None] + squares - 2 * part @ filters.T
        found[start : start + step] = np.sqrt(np.maximum(apart, 0)).sum(axis=1)
    return found


BY_WEIGHTS: Final[dict[str, Callable[[Slices], Float64]]] = {
    "l1": _score_l1,
    "l2": _score_l2,
    "geometric-median": _score_geometric_median,
}


def scores_by_weights(graph: Graph, criterion: str) -> Float64:
    """float64[units]: l1, l2 or geometric-median of the kernels that compute each unit; NaN without a kernel."""
    measure = BY_WEIGHTS[criterion]
    kernels = [one for one in graph.weights if one.role == "out" and len(one.variable.shape) > 1]
    return average_scores(graph, [(one, measure(slices(one, _read_values(one.variable)))) for one in kernels])


def scores_by_gain(graph: Graph) -> Float64:
    """float64[units]: |gamma| of the following BatchNormalization (Liu et al. 2017); NaN without one."""
    gains = [one for one in graph.weights if one.role == "scale" and one.variable.name == "gamma"]
    return average_scores(graph, [(one, np.abs(slices(one, _read_values(one.variable))).sum(axis=1)) for one in gains])


def scores_by_gradients(graph: Graph, batches: Iterable[Mapping[int, Float64]]) -> Float64:
    """float64[units]: the absolute value of the sum over a unit's own weights, averaged over batches.

    batches: by id of a variable, w dL/dw for `taylor` (Molchanov et al. 2019), w^2 (dL/dw)^2 for `fisher` (Theis et al.
             2018).
    """
    total = np.zeros(graph.count)
    own = [one for one in graph.weights if one.role in ("out", "scale")]
    for products in batches:
        sums = np.zeros(graph.count)
        for one in own:
            if id(one.variable) in products:
                here = one.units != NONE
                np.add.at(sums, one.units[here], slices(one, products[id(one.variable)]).sum(axis=1)[here])
        total += np.abs(sums)
    return _divide_by_means(graph, total)


def scores_at_random(graph: Graph, seed: int) -> Float64:
    """float64[units]: random scores."""
    return np.random.default_rng(seed).random(graph.count)


def slices(one: WeightAxis, values: Float64) -> Slices:
    """A weight by the positions of an axis."""
    return np.moveaxis(values, one.axis, 0).reshape(values.shape[one.axis], -1)


def average_scores(graph: Graph, parts: list[tuple[WeightAxis, Float64]]) -> Float64:
    """For each unit the mean over its weights of scores that are divided by their mean in that weight."""
    sums, counts = np.zeros(graph.count), np.zeros(graph.count)
    for one, scores in parts:
        here = one.units != NONE
        relative = scores[here] / max(float(scores.mean()), 1e-30)
        np.add.at(sums, one.units[here], relative)
        np.add.at(counts, one.units[here], 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _divide_by_means(graph: Graph, scores: Float64) -> Float64:
    """Scores divided by their mean in each group."""
    found = np.full(graph.count, np.nan)
    for group in graph.groups:
        found[group] = scores[group] / max(float(scores[group].mean()), 1e-30)
    return found


def _read_values(variable: Variable) -> Float64:
    values: Float64 = keras().ops.convert_to_numpy(variable).astype(np.float64)
    return values
