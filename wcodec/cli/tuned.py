"""encode --data: its options, and the encoding of what learning makes of the weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import streams
from wcodec.cli.units import parse_seconds
from wcodec.errors import RecipeError
from wcodec.recipe import Recipe

if TYPE_CHECKING:
    from wcodec.encoder import Encoded

WANT_DATA = ("max_drop", "tune", "finetune", "method", "resume", "time_limit", "limit", "rescale", "model")
"""Options that mean nothing without --data."""


def options(verb: argparse.ArgumentParser) -> None:
    """Add what the verb understands."""
    learning = verb.add_argument_group("by what the model computes (needs wcodec[keras])")
    learning.add_argument("--data", metavar="D", help="inputs, no labels needed: F.npz:train, an image folder, ...")
    learning.add_argument("--max-drop", metavar="POINTS", type=float, help="accuracy to lose at most (default: 0.5)")
    learning.add_argument("--tune", metavar="STEPS", type=int, help="steps of training; 0: round only")
    learning.add_argument(
        "--finetune", metavar="EPOCHS", type=int, help="train by the labels of the data, too: smallest"
    )
    learning.add_argument(
        "--method", metavar="M", help="of training: auto, gradual, magnitude, sharing, quantized, points, binary, ..."
    )
    learning.add_argument("--resume", action="store_const", const=True, help="go on with a --finetune that was ended")
    learning.add_argument("--time-limit", metavar="T", help="for all of it, where --tune is not given (default: 2m)")
    learning.add_argument("--limit", metavar="N", type=int, help="use at most N inputs")
    learning.add_argument("--rescale", metavar="F", type=float, help="factor for the inputs (default: 1/255 for bytes)")
    learning.add_argument("--model", metavar="ARCH", help="for weights alone: a model file, or module:function")
    learning.add_argument(
        "--import", dest="imports", metavar="MODULE", action="append", default=[], help="has own layers"
    )
    learning.add_argument("--unsafe", action="store_true", help="let the model file run code of its own")


def encode_by_inputs(args: argparse.Namespace, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode what learning makes of the weights, and say what it lost on inputs kept apart."""
    from wcodec.encoder import encode
    from wcodec.learning.tuning import Wish, measured, tune
    from wcodec.output import whole_file

    for word in ("max_error", "target_bytes", "target_ratio"):
        if getattr(recipe, word) is not None:
            raise RecipeError(f"--data: expected a budget of accuracy (--max-drop), got {word}")
    told = (lambda _: None) if args.quiet else streams.write_note
    wish = Wish(
        args.data,
        max_drop=0.5 if args.max_drop is None else args.max_drop,
        steps=args.tune,
        seconds=parse_seconds(args.time_limit or "2m"),
        limit=args.limit,
        rescale=args.rescale,
        architecture=args.model,
        imports=args.imports,
        unsafe=args.unsafe,
        seed=recipe.seed,
    )
    tuning = tune(source, wish, told)
    for sentence in tuning.said:
        told(sentence)
    with whole_file(target) as temporary:
        encoded = encode(source, temporary, recipe, tuned=tuning.tuned, threads=args.threads)
        found = measured(tuning, temporary)
    drop = "" if found.accuracy_drop is None else f", {found.accuracy_drop:+.2f} points of accuracy lost"
    told(f"measured on {found.examples:,} inputs kept apart: {found.agreement or 0.0:.2f} % agree{drop}")
    return encoded


def refuse_without_data(args: argparse.Namespace) -> None:
    """Learning was spoken of, and there is nothing to learn from.

    Raises: RecipeError naming the option.
    """
    for option in WANT_DATA:
        if getattr(args, option) is not None:
            raise RecipeError(f"--{option.replace('_', '-')}: expected --data D with it")
