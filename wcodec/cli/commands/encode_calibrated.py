"""encode --data and --moments: their options, and the encoding of calibrated weights."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.shared_options import add_input_options, data_options, parse_seconds
from wcodec.errors import RecipeError
from wcodec.planning.recipe import Options, Recipe

if TYPE_CHECKING:
    from wcodec.calibration.codebook_weights import CodebookRequest
    from wcodec.calibration.external_moments import MomentRounding
    from wcodec.evaluation.evaluate import Evaluation
    from wcodec.model import TunedTensor
    from wcodec.pipeline.encoder import Encoded


NEED_DATA = (*("max_drop", "max_kl", "min_agreement", "tune", "finetune", "method", "resume", "time_limit"),)
"""Options that need --data, beside those of `cli.shared_options.DATA_OPTIONS`."""
DROP = 0.5
"""The default budget: points of accuracy."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    learning = parser.add_argument_group("calibration and training (needs wcodec[keras])")
    learning.add_argument("--data", metavar="D", help="inputs, and labels if any: F.npz:train, an image folder, ...")
    learning.add_argument("--max-drop", metavar="POINTS", type=float, help="largest drop of accuracy (default: 0.5)")
    learning.add_argument("--max-kl", metavar="NATS", type=float, help="largest KL divergence of the outputs: 0.01")
    learning.add_argument(
        "--min-agreement", metavar="PERCENT", type=float, help="predictions that stay, at least: 99.5"
    )
    learning.add_argument("--tune", metavar="STEPS", type=int, help="steps of training without labels; 0: none")
    learning.add_argument("--finetune", metavar="EPOCHS", type=int, help="train with labels: the smallest files")
    learning.add_argument(
        "--method", metavar="M", help="of training: auto, gradual, magnitude, sharing, quantized, points, binary, ..."
    )
    learning.add_argument("--resume", action="store_const", const=True, help="continue an interrupted --finetune")
    learning.add_argument(
        "--time-limit", metavar="T", help="of the search (default: 2m; with --tune or --finetune: none)"
    )
    learning.add_argument(
        "--moments", metavar="M.npz", type=Path, help="without --data: second moments E[x x'] by tensor"
    )
    add_input_options(learning)


def encode_calibrated(args: argparse.Namespace, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode calibrated weights, and print what they lose on held-out inputs.

    Raises: RecipeError, BudgetError.
    """
    from wcodec.calibration.budget import AccuracyBudget
    from wcodec.calibration.request import LearningRequest
    from wcodec.cli.progress import show_search
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.training.tune import measure_file, tune

    if recipe.max_error is not None:
        raise RecipeError("--data: expected a budget of outputs (--max-drop, ...) or of bytes, got --max-error")
    refuse_tensor_options(recipe)
    if recipe.options.quantizer not in {None, "auto", "uniform", "kmeans", "product"}:
        raise RecipeError(
            f"--data: expected the quantizer auto, uniform, kmeans or product, got {recipe.options.quantizer}"
        )
    most, plain = requested_bytes(source, recipe), replace(recipe, target_bytes=None, target_ratio=None)
    budgets = (args.max_drop, args.max_kl, args.min_agreement, most)

    def measure(tuned: Mapping[str, TunedTensor]) -> int:
        with TemporaryDirectory(prefix="wcodec-") as folder:
            return encode(source, Path(folder) / "try.wcz", plain, tuned=tuned, threads=args.threads).file_bytes

    drop = DROP if all(one is None for one in budgets) else args.max_drop
    request = LearningRequest(
        args.data,
        **data_options(args),
        budget=AccuracyBudget(drop, args.max_kl, args.min_agreement, most),
        steps=args.tune,
        seconds=parse_seconds(args.time_limit or "2m"),
        seed=recipe.seed,
        codebooks=requested_codebooks(recipe.options),
        recipe=recipe,
    )
    log = stdio.choose_log(args.quiet)
    with show_search(args.quiet) as watch:
        tuning = tune(source, request, watch, measure)
    for note in tuning.notes:
        log(note)
    with whole_file(target, source) as temporary:
        encoded = encode(source, temporary, plain, tuned=tuning.tuned, threads=args.threads)
        log(describe_loss(measure_file(tuning, temporary)))
    return encoded


def describe_loss(found: Evaluation) -> str:
    """The figures of a finished file on one line."""
    words = [f"measured on {found.examples:,} held-out examples"]
    if found.accuracy is not None:
        words.append(f"accuracy {found.accuracy:.2f} %")
    if found.accuracy_drop is not None:
        words.append(f"drop {found.accuracy_drop:+.2f} points")
    if found.agreement is not None:
        words.append(f"{found.agreement:.2f} % of the predictions agree with the original's")
    return f"{words[0]}: {', '.join(words[1:]) or 'nothing to compare'}"


def encode_by_moments(args: argparse.Namespace, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode weights that are rounded by moments measured elsewhere; a requested size is searched for.

    Raises: WcodecError.
    """
    from wcodec.calibration.external_moments import round_by_moments
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.planning.rate_control import Target, find_step

    if recipe.max_error is not None:
        raise RecipeError("--moments: expected a size or a preset, got --max-error, which bounds the error of weights")
    most, plain = requested_bytes(source, recipe), replace(recipe, target_bytes=None, target_ratio=None)
    with whole_file(target, source) as temporary:

        def attempt(size: float) -> tuple[Encoded, MomentRounding]:
            rounded = round_by_moments(source, args.moments, plain, size)
            return encode(source, temporary, plain, tuned=rounded.tuned, threads=args.threads), rounded

        size = 1.0
        if most is not None:
            goal = Target("file bytes", most, close=0.985, power=-0.3)
            size = find_step(lambda size: attempt(size)[0].file_bytes, size, goal)
        encoded, rounded = attempt(size)
    log = stdio.choose_log(args.quiet)
    for note in (*rounded.notes, f"outputs of these tensors: relative squared error {rounded.error:.2e}"):
        log(note)
    return encoded


def requested_bytes(source: Path, recipe: Recipe) -> int | None:
    """The size that --target-size or --target-ratio allows the file; None without them."""
    from wcodec.modelfiles import open_model

    if recipe.target_ratio is None:
        return recipe.target_bytes
    with open_model(source) as model:
        return int(model.source_bytes / recipe.target_ratio)


def requested_codebooks(options: Options) -> CodebookRequest | None:
    """The codebooks that the options name, or whose size they set; None where they ask for steps."""
    from wcodec.calibration.codebook_weights import CodebookRequest

    clusters = options.clusters or (1 << options.bits if options.bits else None)
    if options.quantizer == "product":
        return CodebookRequest("product", clusters, options.block)
    auto = options.quantizer in {None, "auto"}
    return CodebookRequest("kmeans", clusters) if options.quantizer == "kmeans" or (auto and clusters) else None


def refuse_tensor_options(recipe: Recipe) -> None:
    """Refuse options that calibration and training choose themselves.

    Raises: RecipeError.
    """
    for rule in recipe.rules:
        if any(getattr(rule.options, word) is not None for word in ("prune", "bits", "clusters", "step", "quantizer")):
            raise RecipeError(
                f"--data: expected no option that sets values, got a rule for {rule.pattern!r}: "
                "lossless and coder are the options that a rule can set"
            )
    options = recipe.options
    if options.prune or options.step is not None:
        word = "step" if not options.prune else "sparsity" if options.prune.rule == "sparsity" else "threshold"
        raise RecipeError(f"--data: expected no option that sets values, got {word}; --method gradual prunes")
    if recipe.preset != "balanced":
        raise RecipeError(f"--data: expected a budget such as --max-drop, got the preset {recipe.preset}")


def check_budgets(args: argparse.Namespace) -> None:
    """Refuse budgets that nothing, or everything, can meet.

    Raises: RecipeError naming the option.
    """
    if not args.data:
        return
    if args.resume and args.finetune is None:
        raise RecipeError("--resume: expected --finetune EPOCHS with it")
    if args.max_drop is not None and not 0 <= args.max_drop < float("inf"):
        raise RecipeError(f"--max-drop: expected 0 points or more, got {args.max_drop:g}")
    if args.max_kl is not None and not 0 < args.max_kl < float("inf"):
        raise RecipeError(f"--max-kl: expected a positive number of nats, got {args.max_kl:g}")
    if args.min_agreement is not None and not 0 < args.min_agreement <= 100:
        raise RecipeError(f"--min-agreement: expected a percentage over 0 and up to 100, got {args.min_agreement:g}")
