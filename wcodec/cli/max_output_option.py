"""--max-output, which the verbs that read a .wcz share; `inspect` starts without the tables of the other options."""

from __future__ import annotations

import argparse

from wcodec.errors import RecipeError


def add_max_output_option(parser: argparse.ArgumentParser) -> None:
    """Add --max-output."""
    parser.add_argument(
        "--max-output",
        metavar="BYTES",
        type=_read_limit,
        help="refuse a file that decodes to more, before memory is allocated: 500MB, 2GB",
    )


def _read_limit(text: str) -> int | None:
    """The limit in bytes. Raises: ArgumentTypeError, to which argparse adds the option's name."""
    from wcodec.planning.option_values import parse_limit

    try:
        return parse_limit(text)
    except RecipeError as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from error
