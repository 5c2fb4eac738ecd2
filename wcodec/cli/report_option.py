"""--report, which several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from wcodec.cli.output_paths import check_target
from wcodec.errors import WcodecError


def add_report_option(parser: argparse.ArgumentParser) -> None:
    """Add --report."""
    parser.add_argument("--report", metavar="R.html", type=Path, help="also write an HTML page with charts")


def check_report_target(args: argparse.Namespace, taken: Sequence[Path] = ()) -> Path | None:
    """The path of the report, checked before any work is done; None without --report.

    taken: other outputs, and the base file. Raises: WcodecError, see `check_target`.
    """
    if args.report is None:
        return None
    target = check_target(args.source, args.report, args.force)
    if any(target.resolve() == other.resolve() for other in taken):
        raise WcodecError(f"{args.report}: expected another file for the report, got the output or the base")
    return target
