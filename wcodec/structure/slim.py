"""Slimming from a file to a smaller network: load, choose, remove, repair or train, measure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.errors import RecipeError, UnsupportedError
from wcodec.evaluation.model_loader import load_model
from wcodec.structure import criteria, student
from wcodec.structure.bench import Bench, prepare, scores_of
from wcodec.structure.compaction import compact
from wcodec.structure.graph import Mask, trace
from wcodec.structure.low_rank import low_rank
from wcodec.structure.measurement import measured
from wcodec.structure.narrowing import fast_enough, narrowed, narrowest, refuse_over_budget, train
from wcodec.structure.request import Slimmed, SlimRequest, check

if TYPE_CHECKING:
    from keras import Model


def slim(source: Path, request: SlimRequest) -> Slimmed:
    """The smaller network.

    Raises: RecipeError, before anything is trained, for a request that cannot be met; UnsupportedError where nothing
            of the network can be followed; BudgetError where no width meets the budget; ModelFileError.
    """
    check(request)
    bench = prepare(source, request)
    small, kept = _made(bench)
    refuse_over_budget(bench, small)
    return measured(bench, small, kept)


def _made(bench: Bench) -> tuple[Model, Mask | None]:
    """The smaller network, trained where that was asked for, and which units of the original it has."""
    request = bench.request
    if request.student is not None:
        return _student(bench), None
    if request.low_rank is not None:
        small, ranks = low_rank(bench.model, request.low_rank or None, bench.seen)
        for name, (full, rank) in ranks.items():
            request.told(f"{name}: rank {full} -> {rank}")
        train(bench, small)
        return small, None
    if bench.graph is None:
        raise UnsupportedError(f"{bench.model.name}: expected units to remove")
    if request.compact:
        found = compact(bench.model)
        request.told(f"{found.removed} of {found.removable} units were dead")
        return found.model, None
    scores = scores_of(bench)
    if request.amount is not None:
        return narrowed(bench, bench.graph, scores, request.amount)
    if request.speedup is not None:
        return narrowed(bench, bench.graph, scores, fast_enough(bench, bench.graph, scores))
    return narrowest(bench, bench.graph, scores)


def _student(bench: Bench) -> Model:
    request = bench.request
    if bench.learning is None or request.student is None:
        raise RecipeError("--student: expected --data D with it")
    made = load_architecture(request)
    student.check_fit(bench.model, made)
    try:
        graph = trace(bench.model)
        started = student.start_from(graph, made, criteria.scores_by_weights(graph, "l2"))
    except UnsupportedError:
        started = False
    request.told("the student starts from the original's units" if started else "the student starts as it is")
    if request.epochs is None and request.steps is None:
        request.told("the student is not trained: --finetune E trains by labels too, --tune N by the answers alone")
    train(bench, made)
    return made


def load_architecture(request: SlimRequest) -> Model:
    """The student: a model file, or what the user's function returns.

    Raises: RecipeError, ModelFileError.
    """
    from wcodec.evaluation import user_code  # noqa: PLC0415 - the user's own code is run when it is asked for

    spec = request.student or ""
    if Path(spec).exists():
        return load_model(spec, imports=request.imports, unsafe=request.unsafe)
    if not user_code.is_function_name(spec):
        raise RecipeError(f"--student {spec}: expected a model file or module:function, found neither")
    made = user_code.call_function(spec)
    if not hasattr(made, "get_weights") or not getattr(made, "inputs", None):
        raise RecipeError(f"--student {spec}: expected a Keras model with declared inputs, got {type(made).__name__}")
    return made
