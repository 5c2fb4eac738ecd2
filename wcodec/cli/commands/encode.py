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
from wcodec.cli.output_paths import check_folder, check_source, check_target, derive_container_path
from wcodec.cli.pipes import is_piped, open_input, open_output
from wcodec.cli.shared_options import (
    add_recipe_options,
    add_report_option,
    check_report_target,
    parse_threads,
    require_data,
)
from wcodec.errors import RecipeError, WcodecError
from wcodec.planning.options import OPTIONS

if TYPE_CHECKING:
    from wcodec.modelfiles.shards import Folder
    from wcodec.pipeline.encoder import Encoded
    from wcodec.planning.recipe import Recipe
    from wcodec.reporting.inspection import Inspection


EXAMPLE = "wcodec encode model.h5 --sparsity 0.9 --bits 4 --set 'dense_1:bits=8,sparsity=0'"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb. Options that are not given are None: a configuration may set them."""
    parser.add_argument("source", metavar="SRC", type=Path, help="the model file: .h5, .keras, .weights.h5, .npz, ...")
    parser.add_argument("-o", "--output", metavar="OUT.wcz", type=Path, help="default: SRC.wcz")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output, and the report")

    add_recipe_options(parser.add_argument_group("how much may be lost"), [o for o in OPTIONS if o.group == "loss"])
    where = parser.add_argument_group("for some tensors (RE matches the name or the layer)")
    add_recipe_options(where, [option for option in OPTIONS if option.group == "where"])
    where.add_argument("--config", metavar="F.toml", type=Path, help="more options; the command line takes precedence")

    encode_calibrated.add_options(parser)

    how = parser.add_argument_group("encoding")
    add_recipe_options(how, [option for option in OPTIONS if option.group == "how"])
    how.add_argument(
        "-T", "--threads", metavar="N", type=parse_threads, default=0, help="threads; 0: all cores (default)"
    )
    how.add_argument("--compact", action="store_true", help="remove dead units first; the outputs stay (needs Keras)")
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

    recipe = parse_recipe({option.word: getattr(args, option.word) for option in OPTIONS}, args.config)
    from wcodec.modelfiles.shards import folder_of
    from wcodec.reporting.inspection import inspect

    with ExitStack() as stack:
        source = stack.enter_context(open_input(args.source))
        folder = folder_of(source)
        _check_combinations(args, source, folder is not None, bool(recipe.options.lossless))
        target = _choose_target(args, source, folder is not None, stack)
        report = check_report_target(args, (target, *([args.base] if args.base else [])))
        start = time.perf_counter()
        source = _compact(args, source, stack)
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
    if args.compact and (lossless or args.base or args.keep_optimizer or source.suffix not in {".keras", ".h5"}):
        raise RecipeError("--compact: expected a .keras or .h5 model, and no --lossless, --base or --keep-optimizer")
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


def _compact(args: argparse.Namespace, source: Path, stack: ExitStack) -> Path:
    """The source; with --compact a temporary file of the same name that holds the network without its dead units."""
    if not args.compact:
        return source
    from wcodec.structure.output import compact_file

    compacted = Path(stack.enter_context(TemporaryDirectory(prefix="wcodec-"))) / source.name
    removed, removable = compact_file(source, compacted, imports=args.imports, unsafe=args.unsafe)
    if not args.quiet:
        stdio.write_note(f"{removed} of {removable} units were dead, and were taken out")
    return compacted


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
        stdio.write_note("\n".join([format_summary(inspection, output, encoded.dropped, seconds), *encoded.notes]))
    if args.json:
        numbers = inspection.to_json() | {"seconds": round(seconds, 3), "relative_error": encoded.error}
        numbers |= {"notes": list(encoded.notes)}
        stdio.write_data(json.dumps(numbers, indent=1))
