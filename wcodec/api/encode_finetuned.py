"""encode --finetune: encoding of weights that are trained with labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.api.encode_calibrated import (
    describe_loss,
    find_target_bytes,
    make_file_size,
    other_bytes,
    refuse_tensor_options,
    with_loss,
)
from wcodec.api.request import EncodeRequest
from wcodec.api.trained_compaction import compact_trained
from wcodec.errors import BudgetError, RecipeError
from wcodec.model.dataclass import replace
from wcodec.planning.recipe import Recipe

if TYPE_CHECKING:
    from wcodec.pipeline.encoder import Encoded
    from wcodec.training.finetune import FinetuneResult


def encode_finetuned(asked: EncodeRequest, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode the smallest network that training finds within the budget, and print its loss on held-out examples.

    Raises: BudgetError if there is none; RecipeError for options that exclude each other.
    """
    from wcodec.calibration.budget import AccuracyBudget
    from wcodec.calibration.progress import Interruptible
    from wcodec.calibration.request import LearningRequest
    from wcodec.training.finetune import train

    _check_options(asked, recipe)
    most, plain = find_target_bytes(source, recipe), replace(recipe, target_bytes=None, target_ratio=None)
    weights = None if most is None else _count_weight_bytes(source, most, plain)
    log = asked.listeners.log
    state = target.with_name(f".{target.name}.training")
    request = LearningRequest(
        asked.data,
        validation=asked.validation,
        augment=asked.augment,
        **asked.data_options(),
        epochs=asked.finetune or 0,
        budget=AccuracyBudget(asked.max_drop, bytes=weights, loss=asked.max_loss),
        state=state,
        resume=asked.resume,
        seed=recipe.seed,
        recipe=recipe,
        seconds=asked.seconds,
    )
    found = train(source, request, log, make_file_size(asked, source, plain))
    try:
        with Interruptible(log, has_result=True).hold():
            encoded = _encode_best(asked, source, target, plain, found, most)
    except BudgetError:
        state.unlink(missing_ok=True)
        raise
    if found.finished:
        state.unlink(missing_ok=True)
    else:
        log("the training ended early: the file has the best result so far; --resume -f continues")
    return encoded


def _check_options(asked: EncodeRequest, recipe: Recipe) -> None:
    if asked.tune is not None:
        raise RecipeError("--tune: cannot be combined with --finetune, which trains with labels")
    for word, value in (("--max-kl", asked.max_kl), ("--min-agreement", asked.min_agreement)):
        if value is not None:
            raise RecipeError(f"{word}: cannot be combined with --finetune, whose budget is --max-drop or --max-loss")
    refuse_tensor_options(recipe)
    for option in ("bits", "clusters", "quantizer"):
        if getattr(recipe.options, option) not in {None, "auto", "uniform"}:
            raise RecipeError(f"--finetune: expected it to choose the values, got {option}: see --method quantized")
    if recipe.max_error is not None:
        raise RecipeError("--finetune: expected --max-drop, --max-loss or --target-size as the budget, got max_error")


def _encode_best(
    asked: EncodeRequest, source: Path, target: Path, recipe: Recipe, found: FinetuneResult, most: int | None
) -> Encoded:
    """Encode the first of the networks whose finished file is within the budget."""
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.training.finetune import measure_file, weights_to_code

    sizes = []
    with whole_file(target, source) as temporary:
        for candidate, tuned in zip(found.candidates, weights_to_code(found), strict=True):
            encoded = encode(source, temporary, recipe, tuned=tuned, threads=asked.threads)
            sizes.append(encoded.file_bytes)
            is_predicted = candidate.is_predicted
            if most is None or encoded.file_bytes <= most:
                break
        else:
            raise BudgetError(f"{target.name}: expected at most {most:,} bytes, got {min(sizes):,} at best")
        encoded = compact_trained(asked, source, temporary, recipe, found, tuned, encoded)
        measured = measure_file(found, temporary, asked.listeners.log, is_predicted=is_predicted)
        asked.listeners.log(describe_loss(measured))
    return with_loss(encoded, measured, found.opened.request.epochs)


def _count_weight_bytes(source: Path, most: int, recipe: Recipe) -> int:
    """The bytes that the trained weights may take in a file of `most` bytes; the rest of the file does not change.

    Raises: BudgetError if the rest alone is larger.
    """
    rest = other_bytes(source, recipe)
    if rest >= most:
        raise BudgetError(f"{source.name}: expected at most {most:,} bytes, got {rest:,} without the trained weights")
    return most - rest
