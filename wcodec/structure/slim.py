"""Slimming from a file to a smaller network: load, choose, remove, repair or train, measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.calibration.time_limit import Stopwatch
from wcodec.errors import RecipeError, UnsupportedError
from wcodec.evaluation.model_loader import load_model
from wcodec.structure import criteria, student
from wcodec.structure.bench import SCORING, Bench, prepare, scores_of
from wcodec.structure.compaction import compact
from wcodec.structure.graph import Graph, trace
from wcodec.structure.low_rank import low_rank
from wcodec.structure.measurement import measure
from wcodec.structure.narrowing import (
    SmallerNetwork,
    compare,
    fast_enough,
    find_checkpoint,
    narrow,
    narrowest,
    refuse_over_budget,
    train,
)
from wcodec.structure.rebuild import without
from wcodec.structure.request import UNMEASURED, Slimmed, SlimRequest, check, is_one_training
from wcodec.structure.selection import select
from wcodec.structure.training_state import FitState, StateFile

if TYPE_CHECKING:
    from keras import Model


def slim(source: Path, request: SlimRequest) -> Slimmed:
    """The smaller network.

    Raises: RecipeError, before any training, for a request that cannot be met; UnsupportedError if no part of the
    network can be followed; BudgetError if no width meets the budget; ModelFileError.
    """
    check(request)
    clock = Stopwatch()
    bench = prepare(source, _time_actions(request, clock))
    made = _make_network(bench)
    if not made.finished:
        has_state = is_one_training(request) and request.state is not None and request.state.exists()
        more = "; --resume -f continues" if has_state else ""
        request.log(f"the training ended early: this is the best network so far{more}")
    elif request.state is not None:
        request.state.unlink(missing_ok=True)
    bench.request.watch("measuring both networks", 0.0)
    compared = compare(bench, made.model)
    refuse_over_budget(bench, compared)
    found = measure(bench, made, compared)
    bench.request.watch("", 1.0)
    if request.data is None and not request.compact and found.after.parameters < found.before.parameters:
        request.log(UNMEASURED)
    if late := clock.overrun(request.seconds):
        request.log(late)
    return found


def _time_actions(request: SlimRequest, clock: Stopwatch) -> SlimRequest:
    """The request with an observer that also passes each action to the clock."""
    doing = ["loading"]

    def watch(what: str, part: float) -> None:
        if what != doing[-1]:
            clock.ends(doing[-1])
            doing.append(what)
        request.watch(what or doing[-2], part)

    return replace(request, watch=watch)


def _make_network(bench: Bench) -> SmallerNetwork:
    """The smaller network, trained if requested."""
    request, earlier = bench.request, find_checkpoint(bench)
    going_on = earlier and earlier[1]
    if request.student is not None:
        return _make_student(bench, going_on)
    if request.low_rank is not None:
        deadline, where = bench.deadline.part(SCORING), bench.source.name
        small, ranks = low_rank(bench.model, request.low_rank or None, bench.seen, deadline, where)
        return SmallerNetwork(small, None, ranks, train(bench, small, going_on=going_on))
    if bench.graph is None:
        raise UnsupportedError(f"{bench.model.name}: expected units to remove")
    if request.compact:
        found = compact(bench.model)
        request.log(f"{found.removed} of {found.removable} units were dead")
        return SmallerNetwork(found.model, found.kept if found.graph.count == bench.graph.count else None)
    return _make_narrower(bench, bench.graph, earlier)


def _make_narrower(bench: Bench, graph: Graph, earlier: tuple[StateFile, FitState] | None) -> SmallerNetwork:
    """The network with some of its units."""
    request = bench.request
    if earlier is not None:
        kept = earlier[0].kept
        if len(kept) != graph.count:
            raise RecipeError("--resume: expected the state of this network's training, got that of another network")
        small = without(graph, kept)
        return SmallerNetwork(small, kept, finished=train(bench, small, kept, earlier[1]))
    request.watch("what each unit is worth", 0.0)
    scores = scores_of(bench)
    if request.amount is not None:
        return narrow(bench, graph, select(graph, scores, request.amount))
    if request.speedup is not None:
        return narrow(bench, graph, select(graph, scores, fast_enough(bench, graph, scores)))
    return narrowest(bench, graph, scores)


def _make_student(bench: Bench, going_on: FitState | None) -> SmallerNetwork:
    request = bench.request
    if bench.learning is None or request.student is None:
        raise RecipeError("--student: expected --data D with it")
    made = load_architecture(request)
    student.check_fit(bench.model, made)
    try:
        graph = trace(bench.model, is_exact=False)
        started = student.start_from(graph, made, criteria.scores_by_weights(graph, "l2"))
    except UnsupportedError:
        started = False
    request.log("the student starts from the original's units" if started else "the student starts as it is")
    if request.epochs is None and request.steps is None:
        request.log("the student is not trained: --finetune E trains by labels too, --tune N by the outputs alone")
    return SmallerNetwork(made, finished=train(bench, made, going_on=going_on))


def load_architecture(request: SlimRequest) -> Model:
    """The student: a model file, or the result of the user's function.

    Raises: RecipeError, ModelFileError.
    """
    from wcodec.evaluation import user_code  # noqa: PLC0415 - the user's own code is run when it is asked for

    spec = request.student or ""
    if Path(spec).exists():
        return load_model(spec, imports=request.imports, unsafe=request.unsafe)
    made = user_code.call_function(spec)
    if not hasattr(made, "get_weights") or not getattr(made, "inputs", None):
        raise RecipeError(f"--student {spec}: expected a Keras model with declared inputs, got {type(made).__name__}")
    return made
