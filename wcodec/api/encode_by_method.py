"""encode --finetune --method: encoding of weights that a method of the literature trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.api.encode_calibrated import describe_loss, with_loss
from wcodec.api.request import EncodeRequest
from wcodec.api.trained_compaction import compact_by_method
from wcodec.errors import BudgetError, RecipeError
from wcodec.planning.idle_options import refuse_idle_of_method
from wcodec.planning.recipe import Options, Recipe
from wcodec.planning.run_options import METHOD_OPTIONS

if TYPE_CHECKING:
    from wcodec.evaluation.evaluate import Evaluation
    from wcodec.pipeline.encoder import Encoded
    from wcodec.training.methods.train import MethodResult


def encode_by_method(asked: EncodeRequest, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode weights that the methods train, and print their loss on held-out examples.

    Raises: BudgetError if --max-drop is given and not met; RecipeError for options that exclude each other.
    """
    from wcodec.calibration.budget import AccuracyBudget
    from wcodec.calibration.progress import Interruptible
    from wcodec.calibration.request import LearningRequest
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.training.methods.registry import MethodOptions
    from wcodec.training.methods.train import train_by

    _refuse_rivals(asked, recipe)
    log = asked.listeners.log
    budget = AccuracyBudget(asked.max_drop, loss=asked.max_loss)
    state = target.with_name(f".{target.name}.training")
    request = LearningRequest(
        asked.data,
        validation=asked.validation,
        augment=asked.augment,
        **asked.data_options(),
        epochs=asked.finetune or 0,
        budget=budget,
        state=state,
        resume=asked.resume,
        seconds=float("inf") if asked.time_limit is None else asked.time_limit,
        seed=recipe.seed,
    )
    words = {option.word: getattr(asked, option.word) for option in METHOD_OPTIONS}
    more = MethodOptions(**{word: value for word, value in words.items() if value is not None})
    log(f"budget: {str(budget) or 'none, the methods use the given options'}")
    found = train_by(source, request, asked.method or "auto", recipe, log, more)
    try:
        with Interruptible(log, has_result=True).hold(), whole_file(target, source) as temporary:
            encoded = encode(source, temporary, recipe, tuned=found.tuned, threads=asked.threads)
            encoded, measured = _compact_and_measure(asked, source, temporary, recipe, found, encoded)
            log(describe_loss(measured))
    finally:
        if found.finished:
            state.unlink(missing_ok=True)
    if not found.finished:
        log("the training ended early: the file has what it came to; --resume -f continues")
    return with_loss(encoded, measured, request.epochs)


def _compact_and_measure(
    asked: EncodeRequest, source: Path, target: Path, recipe: Recipe, found: MethodResult, whole: Encoded
) -> tuple[Encoded, Evaluation]:
    """The file `target` and its loss: without dead units if that is within the budget, otherwise with them.

    Raises: BudgetError.
    """
    from wcodec.training.finetune import measure_file

    log, coded = asked.listeners.log, target.read_bytes()
    small = compact_by_method(asked, source, target, recipe, found.bench, found.tuned, whole)
    if small is not whole:
        try:
            return small, measure_file(found.bench, target, log)
        except BudgetError:
            target.write_bytes(coded)
    return whole, measure_file(found.bench, target, log)


def _refuse_rivals(asked: EncodeRequest, recipe: Recipe) -> None:
    """Raises: RecipeError for options that training methods cannot be combined with, or would ignore."""
    for word in ("max_error", "target_bytes", "target_ratio"):
        if getattr(recipe, word) is not None:
            raise RecipeError(f"--method: expected --max-drop as the only budget, got {word}")
    if asked.tune is not None:
        raise RecipeError("--method: expected epochs of training, not --tune with it")
    if asked.max_kl is not None or asked.min_agreement is not None:
        word = "--min-agreement" if asked.max_kl is None else "--max-kl"
        raise RecipeError(f"--method: expected --max-drop as the only budget, got {word}")
    methods = [name.strip() for name in (asked.method or "").split(",")]
    refuse_idle_of_method(recipe.options, methods)
    for rule in recipe.rules:  # of the options of single tensors, those that methods would ignore
        kernel = Options(prune=rule.options.prune, bits=rule.options.bits, clusters=rule.options.clusters)
        refuse_idle_of_method(kernel, methods)
    if recipe.global_sparsity:
        raise RecipeError("--method: expected no --global with it, each tensor is pruned by itself")
