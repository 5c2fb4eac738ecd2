"""wcodec inspect: the use of every byte of a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.max_output_option import add_max_output_option
from wcodec.cli.output_paths import check_source
from wcodec.cli.report_option import add_report_option, check_report_target
from wcodec.errors import RecipeError, escape_name
from wcodec.reporting.json_numbers import format_json

if TYPE_CHECKING:
    from wcodec.reporting.stages import Stages

EXAMPLE = "wcodec inspect model.h5.wcz --sort size"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "source", metavar="X.wcz|SRC", nargs="+", type=Path, help="a file that encode wrote, or a model file"
    )
    parser.add_argument(
        "--sort", choices=("size", "ratio", "error"), help="sort the tensors, largest first (default: file order)"
    )
    parser.add_argument("--tensor", metavar="NAME", help="show one tensor: values, codewords, gaps, histogram")
    parser.add_argument("--stages", action="store_true", help="show the bytes after pruning, sharing and coding")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument(
        "--baseline", metavar="SRC", type=Path, help="the model before encoding: --report shows its weights, too"
    )
    add_max_output_option(parser)
    add_report_option(parser)
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the report")


def run(args: argparse.Namespace) -> int:
    """Print the numbers of a file without decoding it (a report decodes the largest tensors).

    Raises: WcodecError, OSError.
    """
    from wcodec.cli.tables import format_inspection, format_stages
    from wcodec.reporting.inspection import inspect

    source = check_source(args.source)
    report = check_report_target(args)
    if args.tensor is not None:
        return _show_tensor(args, source)
    if args.baseline and not report:
        raise RecipeError("--baseline: expected --report R.html with it, which shows weights before and after")
    inspection = inspect(source, args.max_output)
    if report:
        from wcodec.reporting.html_report import write_report
        from wcodec.reporting.weight_histograms import make_file_histograms, make_histograms

        both = make_histograms(check_source(args.baseline), source) if args.baseline else make_file_histograms(source)
        write_report(report, source, inspection, both, command="inspect")
    stages: tuple[Stages, ...] = ()
    if inspection.format_version is not None and (args.stages or inspection.is_classic):
        from wcodec.reporting.stages import stages_of

        stages = stages_of(source)
    if args.json:
        numbers = inspection.to_json()
        if stages:
            numbers["stages"] = [one.to_json() for one in stages]
        stdio.write_data(format_json(numbers))
    else:
        if getattr(args, "several", False):
            stdio.write_data(f"\n{escape_name(source)}:")
        tables = [format_inspection(inspection, args.sort), *([format_stages(stages)] if stages else [])]
        stdio.write_data("\n\n".join(tables))
    return OK


def _show_tensor(args: argparse.Namespace, source: Path) -> int:
    from wcodec.cli.tables import format_tensor
    from wcodec.container.reader import is_container
    from wcodec.modelfiles.names import find_tensor
    from wcodec.pipeline.folder_decoder import places_of
    from wcodec.reporting.tensor_view import view_tensor

    if args.report or args.sort or args.stages:
        raise RecipeError("--tensor: expected no --report, --sort or --stages with it")
    if not source.is_dir() and not is_container(source):
        raise RecipeError(f"--tensor: expected a .wcz, got {source.name}")
    places = places_of(source, args.max_output)
    try:
        name = find_tensor(args.tensor, {name: place.user_name for name, place in places.items()})
    except KeyError as error:
        raise RecipeError(f"--tensor: {error.args[0]}") from error
    view = view_tensor(places[name])
    stdio.write_data(format_json(view.to_json()) if args.json else format_tensor(view))
    return OK
