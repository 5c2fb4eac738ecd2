"""The optimal brain surgeon for units: the exact least-squares cost of removing an input of the next layers.

With H = E[x x'] of the inputs of a layer and W its kernel, removing the rows B of W and refitting the others changes
the outputs by tr(W_B' ([H^-1]_BB)^-1 W_B) (Hassibi and Stork 1993, for blocks of rows). The units of a group are
removed one after the other, the cheapest first, and the remaining rows compensate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.time_limit import NO_DEADLINE, Deadline
from wcodec.evaluation.examples import Examples
from wcodec.structure.graph import Graph
from wcodec.structure.observations import readers_of, rows_of, units_of_rows
from wcodec.structure.units import NONE, Units

Float64 = npt.NDArray[np.float64]

DAMPING: Final = 1e-3
"""The damping, as a fraction of the mean of H's diagonal."""
ROUNDS: Final = 256
"""The largest number of rounds for a group; in large groups each round removes several units."""


@dataclass
class Surgery:
    """A kernel that loses rows; changed in place.

    units:   of its rows.
    weights: float64[rows, outputs], of the remaining rows.
    inverse: H^-1 of the remaining rows.
    power:   mean square of its outputs, summed.
    """

    units: Units
    weights: Float64
    inverse: Float64
    power: float


def scores_by_obs(graph: Graph, examples: Examples, seed: int = 0, deadline: Deadline = NO_DEADLINE) -> Float64:
    """float64[units]: the relative squared error that removing a unit, in its turn, adds to the outputs of the next
    layers.

    NaN for units without a kernel whose inputs can be observed. Errors are summed over layers.
    deadline: for reading examples; at least one batch for each layer is read.
    """
    surgeries = _make_surgeries(graph, examples, seed, deadline)
    found = np.full(graph.count, np.nan)
    for group in graph.groups:
        alive = group[graph.removable[group]]
        readers = [one for one in surgeries if np.isin(alive, one.units).any()]
        if len(alive) and readers:
            order_group(alive, readers, found)
    return found


def _make_surgeries(graph: Graph, examples: Examples, seed: int, deadline: Deadline) -> list[Surgery]:
    found = []
    readers = readers_of(graph.model, examples)
    for reader, until in zip(readers, deadline.turns(len(readers)), strict=True):
        units = [units_of_rows(graph, op) for op in reader.ops]
        if all((one == NONE).all() for one in units):
            continue
        totals = [np.zeros((len(one), len(one))) for one in units]
        count = 0
        for rows in until.within(rows_of(graph.model, reader, examples, seed)):
            count += len(rows[0])
            for total, x in zip(totals, rows, strict=True):
                np.add(total, x.T @ x, out=total)
        for op, numbers, total in zip(reader.ops, units, totals, strict=True):
            weights = op.as_matrix(np.asarray(op.variable, dtype=np.float64))
            moments = total / max(count, 1)
            power = float((weights * (moments @ weights)).sum())
            moments[np.diag_indices_from(moments)] += DAMPING * float(np.diag(moments).mean()) + 1e-12
            if power > 0:
                found.append(Surgery(numbers, weights, np.linalg.inv(moments).astype(np.float64), power))
    return found


def order_group(alive: Units, readers: list[Surgery], into: Float64) -> None:
    """Remove all units of a group, the cheapest first; their costs never fall."""
    left = alive
    at_once = max(1, len(alive) // ROUNDS)
    floor = 0.0
    while len(left):
        prices = np.zeros(len(left))
        for reader in readers:
            prices += _compute_prices(reader, left)
        cheapest = np.argsort(prices, kind="stable")[:at_once]
        for number in cheapest.tolist():
            floor = max(floor, float(prices[number]))
            into[left[number]] = floor
        for reader in readers:
            _take_out(reader, left[cheapest])
        left = np.delete(left, cheapest)


def _compute_prices(one: Surgery, units: Units) -> Float64:
    """float64[units]: relative squared error of the outputs."""
    found = np.zeros(len(units))
    rows_of_unit = [np.flatnonzero(one.units == unit) for unit in units.tolist()]
    for size in {len(rows) for rows in rows_of_unit} - {0}:
        which = [number for number, rows in enumerate(rows_of_unit) if len(rows) == size]
        rows = np.stack([rows_of_unit[number] for number in which])
        blocks, weights = one.inverse[rows[:, :, None], rows[:, None, :]], one.weights[rows]
        found[which] = (weights * np.linalg.solve(blocks, weights)).sum(axis=(1, 2))
    return found / one.power


def _take_out(one: Surgery, units: Units) -> None:
    """Remove the rows of these units; the remaining rows compensate for them."""
    rows = np.flatnonzero(np.isin(one.units, units))
    if not len(rows):
        return
    column = one.inverse[:, rows]
    solved = np.linalg.solve(one.inverse[np.ix_(rows, rows)], np.hstack([one.weights[rows], column.T]))
    outputs = one.weights.shape[1]
    left = np.delete(np.arange(len(one.units)), rows)
    one.weights = one.weights[left] - column[left] @ solved[:, :outputs]
    one.inverse = one.inverse[np.ix_(left, left)] - column[left] @ solved[:, outputs:][:, left]
    one.units = one.units[left]
