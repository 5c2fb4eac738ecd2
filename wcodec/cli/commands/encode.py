"""wcodec encode: model file -> .wcz"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.commands import encode_by_method, encode_calibrated, encode_finetuned
from wcodec.cli.errors import OK
from wcodec.cli.options import add_report_option, check_report_target, parse_threads, require_data
from wcodec.cli.output_paths import check_folder, check_source, check_target, derive_container_path
from wcodec.cli.pipes import is_piped, open_input, open_output
from wcodec.errors import RecipeError, WcodecError
from wcodec.planning.recipe import LEVEL_CODERS, PRESETS, QUANTIZERS, STARTS, WORDS

if TYPE_CHECKING:
    from wcodec.modelfiles.shards import Folder
    from wcodec.pipeline.encoder import Encoded
    from wcodec.planning.recipe import Recipe
    from wcodec.reporting.inspection import Inspection


EXAMPLE = "wcodec encode model.h5 --sparsity 0.9 --bits 4 --set 'dense_1:bits=8,sparsity=0'"
REQUEST = (
    *WORDS,
    "set",
    "include",
    "exclude",
    "preset",
    "effort",
    "max_error",
    "target_size",
    "target_ratio",
    "keep_optimizer",
    "seed",
    "global_sparsity",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb. Options that are not given are None: a configuration may set them."""
    parser.add_argument("source", metavar="SRC", type=Path, help="the model file: .h5, .keras, .weights.h5, .npz, ...")
    parser.add_argument("-o", "--output", metavar="OUT.wcz", type=Path, help="default: SRC.wcz")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output, and the report")

    loss = parser.add_argument_group("how much may be lost")
    loss.add_argument("--lossless", action="store_const", const=True, help="decoding returns the identical file")
    loss.add_argument("--preset", choices=PRESETS, help="the loss where no other option sets it (default: balanced)")
    prune = loss.add_mutually_exclusive_group()
    prune.add_argument("--sparsity", metavar="S", help="set this share of the weights to zero, the smallest: 0.9")
    prune.add_argument("--threshold", metavar="T", help="set weights up to this magnitude to zero: 0.02, or 1.5std")
    size = loss.add_mutually_exclusive_group()
    size.add_argument("--bits", metavar="N", help="2^N values for each tensor")
    size.add_argument("--clusters", metavar="K", help="K values for each tensor")
    loss.add_argument("--block", metavar="N", help="weights in a codebook vector of --quantizer product")
    loss.add_argument(
        "--global", dest="global_sparsity", action="store_const", const=True, help="--sparsity of all tensors as one"
    )
    loss.add_argument("--step", metavar="S", help="the distance between values, in units of the weights")
    loss.add_argument("--start", choices=STARTS, help="the initial codebook of k-means (default: linear)")
    loss.add_argument("--quantizer", choices=QUANTIZERS, help="the method that chooses the values (default: auto)")
    loss.add_argument("--per-channel", action="store_const", const=True, help="one scale for each output channel")
    budget = loss.add_mutually_exclusive_group()
    budget.add_argument("--max-error", metavar="E", type=float, help="largest relative error of the weights: 1e-4")
    budget.add_argument("--target-size", metavar="BYTES", help="largest size of the file: 2MB, 500kB, 1.5MiB")
    budget.add_argument("--target-ratio", metavar="R", type=float, help="smallest ratio of source to file: 20")

    where = parser.add_argument_group("for some tensors (RE matches the name or the layer)")
    where.add_argument(
        "--set",
        metavar="RE:...",
        action="append",
        help="options for these tensors, the first match wins: 'conv:bits=8'",
    )
    where.add_argument("--include", metavar="RE", action="append", help="encode all other tensors exactly")
    where.add_argument("--exclude", metavar="RE", action="append", help="encode these tensors exactly")
    where.add_argument("--config", metavar="F.toml", type=Path, help="more options; the command line takes precedence")

    encode_calibrated.add_options(parser)

    how = parser.add_argument_group("how")
    speed = how.add_mutually_exclusive_group()
    speed.add_argument(
        "--fast", dest="effort", action="store_const", const="fast", help="encode fast, with the same loss"
    )
    speed.add_argument("--best", dest="effort", action="store_const", const="best", help="smallest file, slow")
    how.add_argument("--coder", choices=LEVEL_CODERS, help="the entropy coder (default: auto)")
    how.add_argument("--keep-optimizer", action="store_const", const=True, help="keep the state of the optimizer")
    how.add_argument("--seed", metavar="N", type=int, help="seed of the random numbers (default: 0)")
    how.add_argument(
        "-T", "--threads", metavar="N", type=parse_threads, default=0, help="threads; 0: all cores (default)"
    )
    how.add_argument("--base", metavar="OLD", type=Path, help="store the difference from this file; decode needs it")
    how.add_argument("--scheduler", metavar="URL", help="encode a folder on Dask's workers: tcp://host:port")
    how.add_argument("--dry-run", action="store_true", help="show the result and write nothing")
    how.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_report_option(parser)


def run(args: argparse.Namespace) -> int:
    """Encode a model and print a summary.

    Raises: WcodecError, OSError.
    """
    from wcodec.planning.parsing import parse_recipe

    recipe = parse_recipe({word: getattr(args, word, None) for word in REQUEST}, args.config)
    from wcodec.modelfiles.shards import folder_of
    from wcodec.reporting.inspection import inspect

    with ExitStack() as stack:
        source = stack.enter_context(open_input(args.source))
        folder = folder_of(source)
        _check_combinations(args, source, folder is not None, bool(recipe.options.lossless))
        target = _choose_target(args, source, folder is not None, stack)
        report = check_report_target(args, (target, *([args.base] if args.base else [])))
        start = time.perf_counter()
        encoded = _encode(args, source, target, recipe, folder)
        seconds = time.perf_counter() - start
        inspection = inspect(target)
        if report:
            from wcodec.reporting.html_report import write_report
            from wcodec.reporting.weight_histograms import make_histograms

            histograms = make_histograms(source, target, args.base)
            write_report(report, source.name, inspection, histograms, command="encode", seconds=seconds)
    _print_result(args, target, inspection, encoded, seconds)
    return OK


def _check_combinations(args: argparse.Namespace, source: Path, several: bool, lossless: bool) -> None:
    """Refuse options that exclude each other, before any work is done. several: the model has several files.

    Raises: RecipeError.
    """
    encode_calibrated.check_budgets(args)
    learns = "--data" if args.data else "--moments" if args.moments is not None else None
    if learns and (args.base or args.scheduler):
        raise RecipeError(f"{'--base' if args.base else '--scheduler'}: cannot be combined with {learns}")
    if learns and lossless:
        raise RecipeError(f"lossless: cannot be combined with {learns}, which is lossy")
    if several and (learns or args.report):
        raise RecipeError(f"{source}: expected a single file with {learns or '--report'}, got a model of several files")
    if args.data and args.moments is not None:
        raise RecipeError("--moments: cannot be combined with --data, which measures the moments itself")
    if args.data and args.finetune is None and args.method is not None:
        raise RecipeError("--method: expected --finetune EPOCHS with it")
    require_data(args, encode_calibrated.NEED_DATA)


def _choose_target(args: argparse.Namespace, source: Path, several: bool, stack: ExitStack) -> Path:
    """The file to write, or the folder where the model has several files.

    Raises: WcodecError.
    """
    if args.dry_run:
        return derive_container_path(Path(stack.enter_context(TemporaryDirectory(prefix="wcodec-"))) / source.name)
    if is_piped(args.source, args.output):
        if several or args.json or args.report:
            word = "--json" if args.json else "--report" if args.report else "a model of several files"
            raise RecipeError(f"-: expected one file to write to standard output, got {word}")
        return stack.enter_context(open_output(args.force))
    target = args.output or derive_container_path(source)
    if args.base and args.base.exists() and target.exists() and target.samefile(args.base):
        raise WcodecError(f"{target}: expected another output, got the base, which decoding needs")
    return check_folder(source, target, args.force) if several else check_target(source, target, args.force)


def _encode(args: argparse.Namespace, source: Path, target: Path, recipe: Recipe, folder: Folder | None) -> Encoded:
    """Encode with what the options ask for: training, calibration, moments, or the weights alone."""
    if args.data and args.method not in {None, "auto"}:
        return encode_by_method.encode_by_method(args, source, target, recipe)
    if args.data and args.finetune is not None:
        return encode_finetuned.encode_finetuned(args, source, target, recipe)
    if args.data:
        return encode_calibrated.encode_calibrated(args, source, target, recipe)
    if args.moments is not None:
        return encode_calibrated.encode_by_moments(args, source, target, recipe)
    from wcodec.cli.dask_executor import connect_workers
    from wcodec.cli.progress import show_progress
    from wcodec.pipeline.folder_encoder import encode_any

    base = args.base and check_source(args.base)
    with show_progress("encode", args.quiet) as progress, connect_workers(args.scheduler) as executor:
        return encode_any(
            source, target, recipe, folder=folder, base=base, threads=args.threads, executor=executor, progress=progress
        )


def _print_result(
    args: argparse.Namespace, target: Path, inspection: Inspection, encoded: Encoded, seconds: float
) -> None:
    from wcodec.cli.tables import format_inspection, format_summary

    if args.dry_run and not args.json:
        stdio.write_data(format_inspection(inspection))
    elif args.verbose:
        stdio.write_note(format_inspection(inspection))
    if not args.quiet:
        piped = is_piped(args.source, args.output)
        output = "dry run" if args.dry_run else "standard output" if piped else str(target)
        stdio.write_note(format_summary(inspection, output, encoded.dropped, seconds))
    if args.json:
        numbers = inspection.to_json() | {"seconds": round(seconds, 3), "relative_error": encoded.error}
        stdio.write_data(json.dumps(numbers, indent=1))
