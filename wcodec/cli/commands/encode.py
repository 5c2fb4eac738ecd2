"""wcodec encode: model file -> .wcz"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.output_paths import check_folder, check_source, check_target, derive_container_path
from wcodec.cli.pipes import is_piped, open_input, open_output
from wcodec.cli.report_option import add_report_option, check_report_target
from wcodec.cli.shared_options import add_table_options
from wcodec.errors import RecipeError, WcodecError, escape_name
from wcodec.model.dataclass import replace
from wcodec.planning.options import OPTIONS
from wcodec.planning.recipe import CLASSIC
from wcodec.planning.run_options import LEARNING_OPTIONS, REQUEST_OPTIONS, RUN_OPTIONS
from wcodec.reporting.json_numbers import format_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wcodec.api.encode_file import EncodeResult
    from wcodec.reporting.stages import Stages


EXAMPLE = "wcodec encode model.h5 --sparsity 0.9 --bits 4 --set 'dense_1:bits=8,sparsity=0'"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb. Options that are not given are None, because a configuration may set them."""
    parser.add_argument(
        "source", metavar="SRC", nargs="+", type=Path, help="the model file: .h5, .keras, .weights.h5, .npz, ..."
    )
    parser.add_argument("-o", "--output", metavar="OUT.wcz", type=Path, help="default: SRC.wcz")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output, and the report")

    add_table_options(parser.add_argument_group("how much may be lost"), [o for o in OPTIONS if o.group == "loss"])
    where = parser.add_argument_group("for some tensors (RE matches the name or the layer)")
    add_table_options(where, [option for option in OPTIONS if option.group == "where"])
    where.add_argument("--config", metavar="F.toml", type=Path, help="more options; the command line takes precedence")

    learning = parser.add_argument_group("calibration and training (needs wcodec[keras])")
    add_table_options(learning, LEARNING_OPTIONS)

    how = parser.add_argument_group("encoding")
    add_table_options(how, [option for option in OPTIONS if option.group == "how"])
    add_table_options(how, RUN_OPTIONS)
    how.add_argument("--scheduler", metavar="URL", help="encode a folder on Dask's workers: tcp://host:port")
    how.add_argument("--stages", action="store_true", help="show the bytes after pruning, sharing and coding")
    how.add_argument("--dry-run", action="store_true", help="show the result and write nothing")
    how.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_report_option(parser)


def run(args: argparse.Namespace) -> int:
    """Encode a model and print a summary.

    Raises: WcodecError, OSError.
    """
    from wcodec.planning.parsing import parse_recipe

    recipe = parse_recipe({option.word: getattr(args, option.word) for option in OPTIONS}, args.config)
    from wcodec.api.encode_file import encode_file
    from wcodec.api.request import Listeners, check_request, parse_request
    from wcodec.cli.dask_executor import connect_workers
    from wcodec.cli.progress import show_progress, show_search
    from wcodec.modelfiles.shards import folder_of
    from wcodec.reporting.stages import stages_of

    listeners = Listeners(
        log=stdio.choose_log(args.quiet),
        search=lambda: show_search(args.quiet),
        tensors=lambda: show_progress("encode", args.quiet),
    )
    request = parse_request({option.word: getattr(args, option.word) for option in REQUEST_OPTIONS}, listeners)
    with ExitStack() as stack:
        source = stack.enter_context(open_input(args.source))
        folder = folder_of(source, recipe.is_whole)
        check_request(request, recipe, source, folder is not None)
        _check_outputs(args, source, folder is not None)
        target = _choose_target(args, source, folder is not None, stack)
        report = check_report_target(args, (target, *([args.base] if args.base else [])))
        if request.base:
            request = replace(request, base=check_source(request.base))
        if args.scheduler is not None:
            request = replace(request, executor=stack.enter_context(connect_workers(args.scheduler)))
        made = encode_file(source, target, recipe, request, folder=folder, report=report)
        stages = stages_of(target) if args.stages or recipe.preset == CLASSIC else ()
    _print_result(args, target, made, stages)
    return OK


def _check_outputs(args: argparse.Namespace, source: Path, several: bool) -> None:
    """Refuse combinations that only the command line has. several: the model has several files.

    Raises: RecipeError.
    """
    learns = "--data" if args.data is not None else "--moments" if args.moments is not None else None
    if learns and args.scheduler is not None and args.search is None:
        raise RecipeError(f"--scheduler: cannot be combined with {learns}")
    if several and args.report:
        raise RecipeError(f"{source}: expected a single file with --report, got a model of several files")


def _choose_target(args: argparse.Namespace, source: Path, several: bool, stack: ExitStack) -> Path:
    """The file to write, or the folder if the model has several files.

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
    return (
        check_folder(source, target, args.force or bool(args.family))
        if several
        else check_target(source, target, args.force)
    )


def _print_result(args: argparse.Namespace, target: Path, made: EncodeResult, stages: Sequence[Stages]) -> None:
    from wcodec.cli.tables import format_inspection, format_stages, format_summary

    encoded, inspection, seconds = made.encoded, made.inspection, made.seconds
    if args.dry_run and not args.json:
        stdio.write_data(format_inspection(inspection))
    elif args.verbose:
        stdio.write_note(format_inspection(inspection))
    if not args.quiet:
        if stages:
            stdio.write_note(format_stages(stages) + "\n")
        piped = is_piped(args.source, args.output)
        output = "dry run" if args.dry_run else "standard output" if piped else escape_name(target)
        stdio.write_note(
            "\n".join([format_summary(inspection, output, encoded.dropped, seconds, encoded.lost), *encoded.notes])
        )
    if args.json:
        numbers = inspection.to_json() | {"seconds": round(seconds, 3), "relative_error": encoded.error}
        numbers |= {"measured": dict(encoded.measured)} if encoded.measured else {}
        numbers |= {"notes": list(encoded.notes)} | ({"stages": [one.to_json() for one in stages]} if stages else {})
        stdio.write_data(format_json(numbers))
