"""wcodec sweep: what each byte of a model buys."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.options import add_input_options, add_report_option, check_report_target, parse_seconds, parse_threads
from wcodec.cli.output_paths import check_source
from wcodec.planning.recipe import QUANTIZERS

if TYPE_CHECKING:
    from wcodec.calibration.sweep_judge import ModelOracle
    from wcodec.planning.recipe import Recipe
    from wcodec.reporting.inspection import Inspection
    from wcodec.reporting.weight_histograms import WeightHistogram


EXAMPLE = "wcodec sweep model.h5 --data mnist.npz:train --limit 5000 --report sweep.html"
REQUEST = ("quantizer", "set", "include", "exclude", "effort", "seed")
WANT_DATA = ("limit", "rescale", "model")
"""Options that mean nothing without --data."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="SRC", type=Path, help="model file: .h5, .keras, .weights.h5, .npz, ...")
    parser.add_argument("--points", metavar="N", type=int, default=8, help="codings to try (default: 8)")
    parser.add_argument("--time-limit", metavar="T", default="5m", help="begin nothing after it (default: 5m)")
    parser.add_argument("--json", action="store_true", help="the numbers as JSON on standard output")
    add_report_option(parser)
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the report")

    learning = parser.add_argument_group("by what the model computes (needs wcodec[keras])")
    learning.add_argument("--data", metavar="D", help="inputs, labels or none: F.npz:train, an image folder, ...")
    add_input_options(learning)

    how = parser.add_argument_group("how it is coded (as for encode)")
    how.add_argument("--quantizer", choices=QUANTIZERS, help="how the values are chosen (default: auto)")
    how.add_argument("--set", metavar="RE:...", action="append", help="options for some tensors: 'conv:bits=8'")
    how.add_argument("--include", metavar="RE", action="append", help="only these are lossy")
    how.add_argument("--exclude", metavar="RE", action="append", help="these are lossless")
    speed = how.add_mutually_exclusive_group()
    speed.add_argument("--fast", dest="effort", action="store_const", const="fast", help="speed first; loses no more")
    speed.add_argument("--best", dest="effort", action="store_const", const="best", help="smallest, however long")
    how.add_argument("--seed", metavar="N", type=int, help="of what is random (default: 0)")
    how.add_argument("-T", "--threads", metavar="N", type=parse_threads, default=0, help="0 = all cores (default)")


def run(args: argparse.Namespace) -> int:
    """Measure, and show the tables.

    Raises: WcodecError, OSError.
    """
    from wcodec.planning.parsing import parse_recipe

    source = check_source(args.source)
    recipe = parse_recipe({word: getattr(args, word) for word in REQUEST})
    seconds = parse_seconds(args.time_limit)
    report = check_report_target(args)
    from wcodec.cli.tables import format_sweep
    from wcodec.reporting.html_report import write_report
    from wcodec.reporting.sweep import sweep
    from wcodec.reporting.weight_histograms import make_histograms

    log = (lambda _: None) if args.quiet else stdio.write_note
    if not args.data:
        _refuse_without_data(args)
    bench = _bench(args, source, recipe) if args.data else None
    for sentence in bench.notes if bench and not args.quiet else ():
        log(sentence)
    shown: list[tuple[Inspection, tuple[WeightHistogram, ...]]] = []

    def show(coded: Path, numbers: Inspection) -> None:
        if report:
            shown.append((numbers, make_histograms(source, coded)))

    found = sweep(
        source, recipe, points=args.points, seconds=seconds, oracle=bench, threads=args.threads, log=log, show=show
    )
    if report:
        write_report(report, source.name, shown[0][0], shown[0][1], sweep=found, command="sweep")
    if not found.complete:
        log(f"{args.time_limit} were over before all was measured: --time-limit gives more, --points asks for less")
    stdio.write_data(json.dumps(found.to_json(), indent=1) if args.json else format_sweep(found))
    return OK


def _bench(args: argparse.Namespace, source: Path, recipe: Recipe) -> ModelOracle:
    from wcodec.calibration.request import CalibrationRequest
    from wcodec.calibration.sweep_judge import open_oracle
    from wcodec.cli.commands.encode_calibrated import requested_codebooks

    return open_oracle(
        source,
        CalibrationRequest(
            args.data,
            limit=args.limit,
            rescale=args.rescale,
            architecture=args.model,
            imports=args.imports,
            unsafe=args.unsafe,
            seed=recipe.seed,
            sharing=requested_codebooks(recipe.options),
            recipe=recipe,
        ),
    )


def _refuse_without_data(args: argparse.Namespace) -> None:
    """Options of the model were given, and nothing to run it on.

    Raises: RecipeError naming the option.
    """
    from wcodec.errors import RecipeError

    for word in WANT_DATA:
        if getattr(args, word) is not None:
            raise RecipeError(f"--{word}: expected --data D with it")
