"""wcodec inspect: what the bytes of a file are used for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.output_paths import check_source
from wcodec.cli.report_option import add_report_option, check_report_target

EXAMPLE = "wcodec inspect model.h5.wcz --sort size"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="X.wcz|SRC", type=Path, help="a file that encode wrote, or a model file")
    parser.add_argument(
        "--sort", choices=("size", "ratio", "error"), help="sort the tensors, largest first (default: file order)"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_report_option(parser)
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the report")


def run(args: argparse.Namespace) -> int:
    """Print the numbers of a file, which is not decoded (a report decodes the largest tensors).

    Raises: WcodecError, OSError.
    """
    from wcodec.cli.tables import format_inspection
    from wcodec.reporting.inspection import inspect

    source = check_source(args.source)
    report = check_report_target(args)
    inspection = inspect(source)
    if report:
        from wcodec.reporting.html_report import write_report
        from wcodec.reporting.weight_histograms import make_file_histograms

        write_report(report, source.name, inspection, make_file_histograms(source), command="inspect")
    stdio.write_data(
        json.dumps(inspection.to_json(), indent=1) if args.json else format_inspection(inspection, args.sort)
    )
    return OK
