"""The bench of slimming: the network, its units, and examples for choosing, training and measuring."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.time_limit import NO_DEADLINE, Deadline
from wcodec.errors import RecipeError, UnsupportedError
from wcodec.evaluation.datasets import load_split
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import Outputs
from wcodec.evaluation.model_loader import load_model, model_inputs, model_outputs, predicted_tasks
from wcodec.evaluation.output_kinds import OutputKind, output_kinds
from wcodec.evaluation.stored_weights import refuse_infinite_weights
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

    def kinds(self) -> tuple[OutputKind, ...]:
        """The kind of each output, by the held-out examples. Raises: RecipeError if labels do not fit."""
        if self.apart is None:
            return ()
        tasks, names = predicted_tasks(self.model), [each[0] for each in model_outputs(self.model)]
        return output_kinds(self.answers(), self.apart.labels, self.apart.count, names=names, tasks=tasks)


def prepare(source: Path, request: SlimRequest) -> Bench:
    deadline = Deadline.after(request.seconds)
    model = load_model(source, architecture=request.architecture, imports=request.imports, unsafe=request.unsafe)
    if not request.compact:
        refuse_infinite_weights(model, source.name)
    graph = None
    if request.student is None and request.low_rank is None:
        graph = trace(model, is_exact=request.compact)
        if not graph.removable.any():
            raise UnsupportedError(f"{source.name}: expected units that can be removed, {_tell_why_none(graph, model)}")
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
    seen = Examples(learning.take(spread).inputs)
    bench = Bench(request, source, model, graph, seen, learning, apart, deadline)
    if request.max_drop is not None:
        AccuracyBudget(drop=request.max_drop).check(bench.kinds())
    return bench


def _tell_why_none(graph: Graph, model: Model) -> str:
    """The reason why no unit can be removed."""
    if graph.frozen:
        return "all are frozen by " + "; ".join(sorted(set(graph.frozen.values())))
    found = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in model.layers if layer.weights)
    return f"found none in {found or model.name}"


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
