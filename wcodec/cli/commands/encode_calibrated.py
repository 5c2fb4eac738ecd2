"""encode --data: its options, and the encoding of what learning makes of the weights."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.options import add_input_options, parse_seconds
from wcodec.errors import RecipeError
from wcodec.planning.recipe import Options, Recipe

if TYPE_CHECKING:
    from wcodec.calibration.codebook_weights import CodebookRequest
    from wcodec.model import TunedTensor
    from wcodec.pipeline.encoder import Encoded


WANT_DATA = (
    *("max_drop", "max_kl", "min_agreement", "tune", "finetune", "method", "resume", "time_limit"),
    *("limit", "rescale", "model"),
)
"""Options that mean nothing without --data."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    learning = parser.add_argument_group("by what the model computes (needs wcodec[keras])")
    learning.add_argument("--data", metavar="D", help="inputs, no labels needed: F.npz:train, an image folder, ...")
    learning.add_argument("--max-drop", metavar="POINTS", type=float, help="accuracy to lose at most (default: 0.5)")
    learning.add_argument("--max-kl", metavar="NATS", type=float, help="divergence of the answers at most: 0.01")
    learning.add_argument("--min-agreement", metavar="PERCENT", type=float, help="answers that stay, at least: 99.5")
    learning.add_argument("--tune", metavar="STEPS", type=int, help="steps of training; 0: round only")
    learning.add_argument(
        "--finetune", metavar="EPOCHS", type=int, help="train by the labels of the data, too: smallest"
    )
    learning.add_argument(
        "--method", metavar="M", help="of training: auto, gradual, magnitude, sharing, quantized, points, binary, ..."
    )
    learning.add_argument("--resume", action="store_const", const=True, help="go on with a --finetune that was ended")
    learning.add_argument("--time-limit", metavar="T", help="in all (default: 2m; with --tune or --finetune: none)")
    learning.add_argument("--moments", metavar="M.npz", type=Path, help="without --data: E[x x'] by names of tensors")
    add_input_options(learning)


def encode_calibrated(args: argparse.Namespace, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode what learning makes of the weights, and say what it lost on inputs kept apart."""
    from wcodec.calibration.request import CalibrationRequest
    from wcodec.cli.progress import show_search
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.training.tune import measured, tune

    if recipe.max_error is not None:
        raise RecipeError("--data: expected a budget of answers (--max-drop, ...) or of bytes, got --max-error")
    refuse_idle(recipe)
    if recipe.options.quantizer not in {None, "auto", "uniform", "kmeans", "product"}:
        raise RecipeError(
            f"--data: expected the quantizer auto, uniform, kmeans or product, got {recipe.options.quantizer}"
        )
    most = _most_bytes(source, recipe)
    budgets = (args.max_drop, args.max_kl, args.min_agreement, most)
    whole = replace(recipe, target_bytes=None, target_ratio=None)

    def measure(tuned: Mapping[str, TunedTensor]) -> int:
        with TemporaryDirectory(prefix="wcodec-") as folder:
            return encode(source, Path(folder) / "try.wcz", whole, tuned=tuned, threads=args.threads).file_bytes

    log = (lambda _: None) if args.quiet else stdio.write_note
    wish = CalibrationRequest(
        args.data,
        max_drop=0.5 if all(one is None for one in budgets) else args.max_drop,
        max_kl=args.max_kl,
        min_agreement=args.min_agreement,
        most_bytes=most,
        steps=args.tune,
        seconds=parse_seconds(args.time_limit or "2m"),
        limit=args.limit,
        rescale=args.rescale,
        architecture=args.model,
        imports=args.imports,
        unsafe=args.unsafe,
        seed=recipe.seed,
        sharing=requested_codebooks(recipe.options),
        recipe=recipe,
    )
    with show_search(args.quiet) as watch:
        tuning = tune(source, wish, watch, measure)
    for sentence in tuning.notes:
        log(sentence)
    with whole_file(target) as temporary:
        encoded = encode(source, temporary, whole, tuned=tuning.tuned, threads=args.threads)
        found = measured(tuning, temporary)
    drop = "" if found.accuracy_drop is None else f", {found.accuracy_drop:+.2f} points of accuracy lost"
    log(f"measured on {found.examples:,} inputs kept apart: {found.agreement or 0.0:.2f} % agree{drop}")
    return encoded


def encode_by_moments(args: argparse.Namespace, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode what moments measured elsewhere make of the weights; a size that is asked is searched for.

    Raises: WcodecError.
    """
    from wcodec.calibration.external_moments import round_by_moments
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.planning.rate_control import Target, find_step

    if recipe.max_error is not None:
        raise RecipeError("--moments: expected a size or a preset, got --max-error, which is of the weights")
    log = (lambda _: None) if args.quiet else stdio.write_note
    most, whole = _most_bytes(source, recipe), replace(recipe, target_bytes=None, target_ratio=None)
    with whole_file(target) as temporary:

        def attempt(size: float) -> Encoded:
            rounded = round_by_moments(source, args.moments, whole, size)
            said[:] = [*rounded.notes, f"outputs of these tensors moved by {rounded.error:.2e} (relative, squared)"]
            return encode(source, temporary, whole, tuned=rounded.tuned, threads=args.threads)

        said: list[str] = []
        size = 1.0
        if most is not None:
            goal = Target("file bytes", most, close=0.985, power=-0.3)
            size = find_step(lambda size: attempt(size).file_bytes, size, goal)
        encoded = attempt(size)
    for sentence in said:
        log(sentence)
    return encoded


def _most_bytes(source: Path, recipe: Recipe) -> int | None:
    """The size that is asked of the file."""
    from wcodec.modelfiles import open_model

    if recipe.target_ratio is None:
        return recipe.target_bytes
    with open_model(source) as model:
        return int(model.source_bytes / recipe.target_ratio)


def requested_codebooks(asked: Options) -> CodebookRequest | None:
    """Codebooks, where they were asked for by name or by their size."""
    from wcodec.calibration.codebook_weights import CodebookRequest

    clusters = asked.clusters or (1 << asked.bits if asked.bits else None)
    if asked.quantizer == "product":
        return CodebookRequest("product", clusters, asked.block)
    auto = asked.quantizer in {None, "auto"}
    return CodebookRequest("kmeans", clusters) if asked.quantizer == "kmeans" or (auto and clusters) else None


def refuse_idle(recipe: Recipe) -> None:
    """Raises: RecipeError for what learning would leave undone: it chooses steps itself, and prunes by them."""
    for rule in recipe.rules:
        if any(getattr(rule.options, word) is not None for word in ("prune", "bits", "clusters", "step", "quantizer")):
            raise RecipeError(
                f"--data: expected it to choose what each tensor gets, got a rule for {rule.pattern!r}; "
                "lossless and coder are what a rule can say beside it"
            )
    asked = recipe.options
    if asked.prune or asked.step is not None:
        word = "step" if not asked.prune else "sparsity" if asked.prune.rule == "sparsity" else "threshold"
        raise RecipeError(f"--data: expected it to choose the steps and zeros, got {word}; --method gradual prunes")
    if recipe.preset != "balanced":
        raise RecipeError(f"--data: expected --max-drop to tell how much may be lost, got the preset {recipe.preset}")


def refuse_without_data(args: argparse.Namespace) -> None:
    """Learning was spoken of, and there is nothing to learn from.

    Raises: RecipeError naming the option.
    """
    for option in WANT_DATA:
        if getattr(args, option) is not None:
            raise RecipeError(f"--{option.replace('_', '-')}: expected --data D with it")
    for word, said in (("--import", args.imports), ("--unsafe", args.unsafe)):
        if said:
            raise RecipeError(f"{word}: expected --data D with it")


def refuse_budgets(args: argparse.Namespace) -> None:
    """Budgets that nothing can meet, or that everything does.

    Raises: RecipeError naming the option.
    """
    if not args.data:
        return
    if args.resume and args.finetune is None:
        raise RecipeError("--resume: expected --finetune EPOCHS with it")
    if args.max_drop is not None and not 0 <= args.max_drop < float("inf"):
        raise RecipeError(f"--max-drop: expected points from 0 on, got {args.max_drop:g}")
    if args.max_kl is not None and not 0 < args.max_kl < float("inf"):
        raise RecipeError(f"--max-kl: expected a positive number of nats, got {args.max_kl:g}")
    if args.min_agreement is not None and not 0 < args.min_agreement <= 100:
        raise RecipeError(f"--min-agreement: expected over 0 to 100 percent, got {args.min_agreement:g}")
