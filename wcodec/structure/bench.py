"""The bench of slimming: the network, its units, and examples for choosing, training and measuring."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.time_limit import NO_DEADLINE, Deadline
from wcodec.errors import RecipeError, UnsupportedError
from wcodec.evaluation.datasets import load_split
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import Outputs
from wcodec.evaluation.model_loader import load_model, model_inputs, model_outputs
from wcodec.structure import criteria, fitting, gradients
from wcodec.structure.assumed_moments import score_without_data
from wcodec.structure.graph import Graph, trace
from wcodec.structure.obs import scores_by_obs
from wcodec.structure.request import UNLABELLED, SlimRequest

if TYPE_CHECKING:
    from keras import Model

APART: Final = 0.15
"""The fraction of the examples that is held out, and their largest number:"""
APART_MOST: Final = 5000
SEEN: Final = 5000
"""The largest number of inputs for choosing and repairing units."""
SCORING: Final = 1 / 3
"""The fraction of a time limit for scoring units."""


@dataclass(frozen=True)
class Bench:
    """The original network, and the data for slimming it.

    source:   its file.
    seen:     inputs for choosing and repairing, without labels.
    learning: examples for training.
    apart:    held-out examples for measuring.
    deadline: of a request with a time limit.
    cached:   see `answers`.
    """

    request: SlimRequest
    source: Path
    model: Model
    graph: Graph | None
    seen: Examples | None
    learning: Examples | None
    apart: Examples | None
    deadline: Deadline = NO_DEADLINE
    cached: list[tuple[Outputs, ...]] = field(default_factory=list)

    def answers(self) -> tuple[Outputs, ...]:
        """The original's outputs for the held-out examples, computed once."""
        if not self.cached and self.apart is not None:
            self.cached.append(compute_outputs(self.model, self.apart))
        return self.cached[0]


def prepare(source: Path, request: SlimRequest) -> Bench:
    deadline = Deadline.after(request.seconds)
    model = load_model(source, architecture=request.architecture, imports=request.imports, unsafe=request.unsafe)
    graph = None
    if request.student is None and request.low_rank is None:
        graph = trace(model, is_exact=request.compact)
        if not graph.removable.any():
            reasons = "; ".join(sorted(set(graph.frozen.values()))) or "there are no units"
            raise UnsupportedError(f"{source.name}: expected units that can be removed, all are frozen by {reasons}")
    if request.data is None:
        return Bench(request, source, model, graph, None, None, None, deadline)
    wanted = model_inputs(model), model_outputs(model)
    examples, apart = load_split(
        request.data, request.validation, *wanted, rescale=request.rescale, limit=request.limit
    )
    for sentence in examples.notes:
        request.log(sentence)
    if examples.count < 2:
        raise RecipeError(f"--data: expected 2 examples or more, got {examples.count}")
    if request.epochs is not None and not examples.is_labelled:
        raise RecipeError(UNLABELLED)
    learning = examples
    if apart is None:
        count = max(1, min(round(APART * examples.count), APART_MOST))
        chosen = np.linspace(0, examples.count - 1, count).round().astype(np.intp)
        learning, apart = examples.take(np.setdiff1d(np.arange(examples.count), chosen)), examples.take(chosen)
        request.log(f"{apart.count:,} of {examples.count:,} examples are held out to measure on")
    spread = np.linspace(0, learning.count - 1, min(SEEN, learning.count)).round().astype(np.intp)
    return Bench(request, source, model, graph, Examples(learning.take(spread).inputs), learning, apart, deadline)


def scores_of(bench: Bench) -> criteria.Float64:
    """The score of each unit by the requested criterion, or by the best one that is available."""
    graph, request = bench.graph, bench.request
    if graph is None:
        raise UnsupportedError(f"{bench.model.name}: expected units to score")
    criterion = request.criterion or "obs"
    if criterion == "random":
        return criteria.scores_at_random(graph, request.seed)
    by_weights = criteria.scores_by_weights(graph, criterion if criterion in criteria.BY_WEIGHTS else "l2")
    if criterion in criteria.BY_WEIGHTS:
        return by_weights
    if criterion == "bn-scale":
        found = criteria.scores_by_gain(graph)
        if np.isnan(found).all():
            raise RecipeError("--criterion bn-scale: expected layers of BatchNormalization, found none")
        return found
    if criterion == "obs":
        if bench.seen is None:
            found = score_without_data(graph)
        else:
            found = scores_by_obs(graph, bench.seen, request.seed, bench.deadline.part(SCORING))
        level = float(np.nanmean(found)) if not np.isnan(found).all() else 1.0
        return np.where(np.isnan(found), by_weights * level, found)
    if bench.seen is None or bench.learning is None:
        raise RecipeError(f"--criterion {criterion}: expected --data D with it")
    few = bench.learning.take(np.arange(min(gradients.EXAMPLES, bench.learning.count)))
    targets = fitting.targets_of(bench.model, few)
    return criteria.scores_by_gradients(
        graph,
        bench.deadline.part(SCORING).within(
            gradients.products(bench.model, few, targets, 1 if criterion == "taylor" else 2)
        ),
    )
