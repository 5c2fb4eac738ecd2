"""encode --finetune --method: the encoding of what a method of the literature makes of the weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.errors import RecipeError
from wcodec.planning.recipe import Recipe

if TYPE_CHECKING:
    from wcodec.pipeline.encoder import Encoded


def encode_by_method(args: argparse.Namespace, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode what the methods make of the weights, and say what it lost on examples kept apart.

    Raises: BudgetError where --max-drop was given and is not kept to; RecipeError for what does not go together.
    """
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.training.finetune import Lessons, measured
    from wcodec.training.lambda_control import Budget
    from wcodec.training.methods.train import train_by

    for word in ("max_error", "target_bytes", "target_ratio"):
        if getattr(recipe, word) is not None:
            raise RecipeError(f"--method: expected --max-drop as the only budget, got {word}")
    for word, said in (("--tune", args.tune), ("--time-limit", args.time_limit), ("--resume", args.resume)):
        if said is not None:
            raise RecipeError(f"--method: expected epochs of training, not {word} with it")
    log = (lambda _: None) if args.quiet else stdio.write_note
    asked = Lessons(
        args.data,
        epochs=args.finetune,
        budget=Budget(args.max_drop),
        state=target,
        limit=args.limit,
        rescale=args.rescale,
        architecture=args.model,
        imports=args.imports,
        unsafe=args.unsafe,
        seed=recipe.seed,
    )
    found = train_by(source, asked, args.method, recipe, log)
    for sentence in found.bench.notes:
        log(sentence)
    with whole_file(target) as temporary:
        encoded = encode(source, temporary, recipe, tuned=found.tuned, threads=args.threads)
        worth = measured(found.bench, temporary)
    if worth.accuracy is not None:
        log(
            f"measured on {worth.examples:,} examples kept apart: {worth.accuracy:.2f} %, "
            f"{worth.accuracy_drop:+.2f} points of accuracy lost"
        )
    return encoded
