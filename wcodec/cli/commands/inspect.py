"""wcodec inspect: where the bytes go."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wcodec.cli import stdio as streams
from wcodec.cli.errors import OK
from wcodec.cli.options import option, report_target
from wcodec.cli.output_paths import source_file

EXAMPLE = "wcodec inspect model.h5.wcz --sort size"


def options(verb: argparse.ArgumentParser) -> None:
    """Add what the verb understands."""
    verb.add_argument("source", metavar="X.wcz|SRC", type=Path, help="what encode wrote, or a model file")
    verb.add_argument("--sort", choices=("size", "ratio", "error"), help="largest first (default: as in the file)")
    verb.add_argument("--json", action="store_true", help="the numbers as JSON")
    option(verb)
    verb.add_argument("-f", "--force", action="store_true", help="overwrite the report")


def run(args: argparse.Namespace) -> int:
    """Show the numbers of a file without decoding it (a report decodes the largest tensors).

    Raises: WcodecError, OSError.
    """
    from wcodec.cli.tables import table
    from wcodec.reporting.inspection import inspect

    source = source_file(args.source)
    report = report_target(args)
    inspection = inspect(source)
    if report:
        from wcodec.reporting.html_report import write_report
        from wcodec.reporting.weight_histograms import make_file_histograms

        write_report(report, source.name, inspection, make_file_histograms(source), command="inspect")
    streams.write_data(json.dumps(inspection.to_json(), indent=1) if args.json else table(inspection, args.sort))
    return OK
