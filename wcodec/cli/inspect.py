"""wcodec inspect: where the bytes go."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wcodec.cli import streams
from wcodec.cli.exit_codes import OK
from wcodec.cli.paths import source_file

EXAMPLE = "wcodec inspect model.h5.wcz --sort size"


def options(verb: argparse.ArgumentParser) -> None:
    """Add what the verb understands."""
    verb.add_argument("source", metavar="X.wcz|SRC", type=Path, help="what encode wrote, or a model file")
    verb.add_argument("--sort", choices=("size", "ratio", "error"), help="largest first (default: as in the file)")
    verb.add_argument("--json", action="store_true", help="the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Show the numbers of a file without decoding it.

    Raises: WcodecError, OSError.
    """
    from wcodec.cli.render import table
    from wcodec.inspection import inspect

    inspection = inspect(source_file(args.source))
    streams.write_data(json.dumps(inspection.to_json(), indent=1) if args.json else table(inspection, args.sort))
    return OK
