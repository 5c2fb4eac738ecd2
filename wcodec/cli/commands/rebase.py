"""wcodec rebase: encode a .wcz again, without a base or with another one."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.output_paths import check_source, check_target
from wcodec.cli.shared_options import add_table_options
from wcodec.errors import WcodecError, escape_name
from wcodec.planning.run_options import REQUEST_WORDS

EXAMPLE = "wcodec rebase epoch9.wcz -f"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="X.wcz", type=Path, help="a file that encode wrote with --base")
    parser.add_argument("-o", "--output", metavar="OUT.wcz", type=Path, help="default: X.wcz itself, with -f")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output")
    parser.add_argument(
        "--base", metavar="OLD", type=Path, help="its base, or a folder with it (default: the folder of X.wcz)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--self-contained", action="store_true", help="the output needs no base (default)")
    how.add_argument("--onto", metavar="NEW", type=Path, help="the output needs this base instead")
    add_table_options(parser, [REQUEST_WORDS["threads"]])


def run(args: argparse.Namespace) -> int:
    """Write the file again, and print one line.

    Raises: WcodecError, OSError.
    """
    from wcodec.cli.progress import show_progress
    from wcodec.pipeline.rebase import rebase
    from wcodec.reporting.number_format import format_size

    source, start = check_source(args.source), time.perf_counter()
    own = args.output is None or (args.output.exists() and args.output.samefile(source))
    if own and not args.force:
        raise WcodecError(f"{source}: exists already; -f overwrites it, -o names another")
    target = source if own else check_target(source, args.output, args.force)
    onto = check_source(args.onto) if args.onto else None
    before = source.stat().st_size
    with show_progress("rebase", args.quiet) as progress:
        made = rebase(source, target, base=args.base, onto=onto, threads=args.threads or 0, progress=progress)
    if not args.quiet:
        needs = f"needs {onto}" if onto else "needs no base"
        sizes = f"{format_size(before)} -> {format_size(made.file_bytes)}"
        stdio.write_note(f"{escape_name(target)}: {sizes}, {needs}, {time.perf_counter() - start:.1f} s")
    return OK
