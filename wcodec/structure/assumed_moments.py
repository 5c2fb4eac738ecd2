"""Least squares without data: second moments of units, for inputs that are assumed to be normal and independent.

The input of a unit is w'x + b. For normal x the moments of its relu are the arc-cosine kernel of degree 1 of the second
moments K of that input (Cho and Saul 2009): with k_i = sqrt(K_ii), t_ij the angle of cosine K_ij / (k_i k_j),

    E[h_i h_j] = k_i k_j (sin t_ij + (pi - t_ij) cos t_ij) / (2 pi),   E[h_i] = k_i / sqrt(2 pi).

Units are then chosen and the next layers fitted as with measured moments. Neuron merging (`merging`) is the case in
which one kept unit replaces each removed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.structure.constants import matrix_of, values_of
from wcodec.structure.flow import Linear
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.merging import find_maker, incoming_weights
from wcodec.structure.obs import Surgery, order_group
from wcodec.structure.units import Units, WeightAxis

Array = npt.NDArray[np.generic]
Float64 = npt.NDArray[np.float64]

VARIANCE: Final = 0.1
"""The variance of the inputs of the network, as of pixels between 0 and 1."""
DAMPING: Final = 1e-3
"""The damping, as a fraction of the mean variance of a group's units."""


@dataclass(frozen=True)
class Assumed:
    """A group of units that one layer computes, with relu or no activation.

    second: float64[units, units], E[h h'].
    mean:   float64[units], E[h].
    """

    units: Units
    second: Float64
    mean: Float64

    @property
    def covariance(self) -> Float64:
        """float64[units, units], with a small damping on the diagonal."""
        found = self.second - np.outer(self.mean, self.mean)
        return found + (DAMPING * float(np.diag(found).mean()) + 1e-12) * np.eye(len(found))


def assume_moments(graph: Graph) -> list[Assumed]:
    """The groups whose moments can be assumed, in the order of the network."""
    found: dict[int, Assumed] = {}
    for group in graph.groups:
        maker = find_maker(graph, group)
        if maker is None:
            continue
        step, is_linear = maker
        weights = incoming_weights(graph, step, group)
        second, mean = _compute_before_activation(graph, step, weights, found)
        if not is_linear:
            second, mean = _pass_relu(second)
        made = Assumed(group, second, mean)
        found |= dict.fromkeys(group.tolist(), made)
    return list({id(one): one for one in found.values()}.values())


def score_without_data(graph: Graph) -> Float64:
    """float64[units]: as `scores_by_obs`, by assumed moments; NaN for other units."""
    found = np.full(graph.count, np.nan)
    for one in assume_moments(graph):
        alive = one.units[graph.removable[one.units]]
        readers = [
            r for r in (_make_surgery(axis, one) for axis in graph.weights if axis.role == "in") if r is not None
        ]
        if len(alive) and readers:
            order_group(alive, readers, found)
    return found


def repair_without_data(graph: Graph, kept: Mask) -> dict[int, Array]:
    """New values by id of a variable, so that kept units replace the removed ones as far as possible; see `without`."""
    values: dict[int, Float64] = {}
    for one in assume_moments(graph):
        stays = kept[one.units]
        if stays.all() or not stays.any():
            continue
        covariance = one.covariance
        taken = np.linalg.solve(covariance[np.ix_(stays, stays)], covariance[np.ix_(stays, ~stays)])
        for axis in graph.weights:
            places = _find_places(axis, one.units) if axis.role == "in" else None
            if places is None:
                continue
            value = values.setdefault(id(axis.variable), values_of(axis.variable).copy())
            turned = np.moveaxis(value, axis.axis, 0)
            for column in places.T:
                turned[column[stays]] += np.tensordot(taken, turned[column[~stays]], 1)
        _move_means(graph, one, stays, one.mean[~stays] - one.mean[stays] @ taken, values)
    variables = {id(variable): variable for variable in graph.model.weights}
    return {key: value.astype(str(variables[key].dtype)) for key, value in values.items()}


def _pass_relu(second: Float64) -> tuple[Float64, Float64]:
    """E[h h'] and E[h] of h = relu of normal numbers with these second moments."""
    length = np.sqrt(np.maximum(np.diag(second), 1e-30))
    cosine = np.clip(second / np.outer(length, length), -1, 1)
    angle = np.arccos(cosine)
    kernel = np.outer(length, length) * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    return kernel, length / np.sqrt(2 * np.pi)


def _compute_before_activation(
    graph: Graph, step: Linear, weights: Float64, known: dict[int, Assumed]
) -> tuple[Float64, Float64]:
    """Second moments and means of the input of the activation, from those of the layer's inputs.

    weights: float64[units, inputs and a bias], the inputs tap by tap.
    """
    units = graph.numbers[step.source.units]
    source = known.get(int(units[0])) if len(units) else None
    kernel, bias = weights[:, :-1], weights[:, -1]
    if source is None or not np.array_equal(source.units, units):
        return VARIANCE * kernel @ kernel.T + np.outer(bias, bias), bias
    taps = kernel.reshape(len(kernel), -1, len(units))
    mean = taps.sum(axis=1) @ source.mean + bias
    spread = np.einsum("atc,cd,btd->ab", taps, source.covariance, taps, optimize=True)
    return spread + np.outer(mean, mean), mean


def _find_places(axis: WeightAxis, units: Units) -> npt.NDArray[np.intp] | None:
    """intp[units, times]: the positions of each unit of a group on an axis; None if they do not occur equally often."""
    if not np.isin(units, axis.units).all():
        return None
    found = [np.flatnonzero(axis.units == unit) for unit in units.tolist()]
    return np.stack(found) if len({len(one) for one in found}) == 1 else None


def _make_surgery(axis: WeightAxis, one: Assumed) -> Surgery | None:
    places = _find_places(axis, one.units)
    if places is None:
        return None
    weights = np.moveaxis(values_of(axis.variable), axis.axis, 0)[places].reshape(len(one.units), -1)
    covariance = one.covariance
    power = float((weights * (covariance @ weights)).sum())
    return Surgery(one.units, weights, np.linalg.inv(covariance).astype(np.float64), power) if power > 0 else None


def _move_means(graph: Graph, one: Assumed, stays: Mask, moved: Float64, values: dict[int, Float64]) -> None:
    """Add to the biases of the next layers the mean of the removed units that the kept units do not reproduce."""
    done: set[int] = set()
    for step in graph.steps:
        if not isinstance(step, Linear) or step.bias is None or step.reads == step.writes or id(step.kernel) in done:
            continue
        numbers = graph.numbers[step.source.units]
        if not np.isin(one.units, numbers).all():
            continue
        done.add(id(step.kernel))
        whole = matrix_of(step).sum(axis=0)
        sums = np.stack([whole[numbers == unit].sum(axis=0) for unit in one.units[~stays].tolist()])
        values[id(step.bias)] = values.get(id(step.bias), values_of(step.bias)) + moved @ sums
