"""encode --finetune: the encoding of what training by labels makes of the weights."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.commands.encode_calibrated import refuse_tensor_options
from wcodec.cli.options import parse_seconds
from wcodec.errors import BudgetError, RecipeError
from wcodec.planning.recipe import Recipe

if TYPE_CHECKING:
    from wcodec.pipeline.encoder import Encoded
    from wcodec.training.finetune import Finetuned


DROP = 0.5
"""Points of accuracy that may be lost, where nothing is said."""


def encode_finetuned(args: argparse.Namespace, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode the smallest network that training finds within the budget, and say what it lost on examples kept apart.

    Raises: BudgetError where there is none; RecipeError for what does not go together.
    """
    from wcodec.training.finetune import Lessons, train
    from wcodec.training.lambda_control import Budget

    for word, said in (("--tune", args.tune), ("--max-kl", args.max_kl), ("--min-agreement", args.min_agreement)):
        if said is not None:
            raise RecipeError(f"--finetune: expected epochs of training and --max-drop, not {word} with it")
    refuse_tensor_options(recipe)
    for option in ("bits", "clusters", "quantizer"):
        if getattr(recipe.options, option) not in {None, "auto", "uniform"}:
            raise RecipeError(f"--finetune: expected it to choose the values, got {option}: see --method quantized")
    if recipe.max_error is not None:
        raise RecipeError("--finetune: expected --max-drop or --target-size as the budget, got max_error")
    most = recipe.target_bytes
    if recipe.target_ratio is not None:
        most = int(source.stat().st_size / recipe.target_ratio)
    drop = DROP if args.max_drop is None and most is None else args.max_drop
    plain = replace(recipe, target_bytes=None, target_ratio=None)
    weights = None if most is None else _weight_bytes(source, most, plain)
    log = (lambda _: None) if args.quiet else stdio.write_note
    asked = Lessons(
        args.data,
        epochs=args.finetune,
        budget=Budget(drop, weights),
        state=target.with_name(f".{target.name}.training"),
        resume=bool(args.resume),
        limit=args.limit,
        rescale=args.rescale,
        architecture=args.model,
        imports=args.imports,
        unsafe=args.unsafe,
        seed=recipe.seed,
        recipe=recipe,
        seconds=parse_seconds(args.time_limit) if args.time_limit else float("inf"),
    )
    found = train(source, asked, log)
    for sentence in found.notes:
        log(sentence)
    try:
        encoded = _encoded(args, source, target, plain, found, most)
    except BudgetError:
        asked.state.unlink(missing_ok=True)
        raise
    if found.finished:
        asked.state.unlink(missing_ok=True)
    else:
        log("ended early: the best so far is written; --resume -f goes on with the training")
    return encoded


def _encoded(
    args: argparse.Namespace, source: Path, target: Path, recipe: Recipe, found: Finetuned, most: int | None
) -> Encoded:
    """The first of the networks whose finished file is within the budget."""
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.training.finetune import choices, measured

    sizes = []
    with whole_file(target) as temporary:
        for tuned in choices(found):
            encoded = encode(source, temporary, recipe, tuned=tuned, threads=args.threads)
            sizes.append(encoded.file_bytes)
            if most is None or encoded.file_bytes <= most:
                break
        else:
            raise BudgetError(f"{target.name}: expected at most {most:,} bytes, got {min(sizes):,} at best")
        worth = measured(found, temporary)
    if not args.quiet and worth.accuracy is not None:
        stdio.write_note(
            f"measured on {worth.examples:,} examples kept apart: {worth.accuracy:.2f} %, "
            f"{worth.accuracy_drop:+.2f} points of accuracy lost"
        )
    return encoded


def _weight_bytes(source: Path, most: int, recipe: Recipe) -> int:
    """What of a file of `most` bytes may be weights that are trained: the rest of it does not change.

    Raises: BudgetError where that alone is larger.
    """
    from wcodec.modelfiles import open_model
    from wcodec.pipeline.encoder import encode
    from wcodec.planning.allocation import exact_names
    from wcodec.reporting.inspection import inspect

    with TemporaryDirectory(prefix="wcodec-") as folder:
        coded = Path(folder) / "model.wcz"
        encode(source, coded, replace(recipe, effort="fast"))
        numbers = inspect(coded)
    with open_model(source) as model:
        exact = exact_names(model, recipe)
    trained = sum(one.bytes - one.parts.index for one in numbers.tensors if one.name not in exact)
    rest = numbers.file_bytes - trained
    if rest >= most:
        raise BudgetError(f"{source.name}: expected at most {most:,} bytes, got {rest:,} without what is trained")
    return most - rest
