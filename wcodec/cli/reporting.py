"""--report: the option, and where the page may go."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from wcodec.cli.paths import free_target
from wcodec.errors import WcodecError


def option(verb: argparse.ArgumentParser) -> None:
    """Add --report."""
    verb.add_argument("--report", metavar="R.html", type=Path, help="write a page with pictures, too")


def report_target(args: argparse.Namespace, taken: Sequence[Path] = ()) -> Path | None:
    """Where the page goes, checked before any work is done; None where none was asked for.

    taken: other outputs, and what decoding will need. Raises: WcodecError, see `free_target`.
    """
    if args.report is None:
        return None
    target = free_target(args.source, args.report, args.force)
    if any(target.resolve() == other.resolve() for other in taken):
        raise WcodecError(f"{args.report}: expected another file for the report, got that of the output or the base")
    return target
