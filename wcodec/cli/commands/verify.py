"""wcodec verify: check every checksum of a file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.max_output_option import add_max_output_option
from wcodec.cli.output_paths import check_source
from wcodec.cli.shared_options import add_table_options
from wcodec.errors import escape_name
from wcodec.planning.run_options import REQUEST_WORDS

EXAMPLE = "wcodec verify model.h5.wcz"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="X.wcz", nargs="+", type=Path, help="a file that encode wrote")
    parser.add_argument("--base", metavar="OLD", type=Path, help="the base file, if encode used --base")
    add_max_output_option(parser)
    add_table_options(parser, [REQUEST_WORDS["threads"]])


def run(args: argparse.Namespace) -> int:
    """Decode everything without writing it, and print one line.

    Raises: WcodecError, OSError.
    """
    source = check_source(args.source)
    from wcodec.cli.progress import show_progress
    from wcodec.pipeline.folder_decoder import verify
    from wcodec.reporting.number_format import format_size

    start = time.perf_counter()
    with show_progress("verify", args.quiet) as progress:
        containers = verify(
            source, base=args.base, max_output=args.max_output, threads=args.threads or 0, progress=progress
        )
    if not args.quiet:
        seconds = time.perf_counter() - start
        tensors = sum(len(container.tensors) for container in containers)
        total = format_size(sum(container.file_bytes for container in containers))
        stdio.write_note(f"{escape_name(source)}: ok, {tensors} tensors, {total}, all checksums match, {seconds:.1f} s")
    return OK
