"""Options that several verbs share: data, time, threads, reports."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from wcodec.cli.output_paths import check_target
from wcodec.errors import RecipeError, WcodecError
from wcodec.planning.options import Option


def add_input_options(learning: argparse._ActionsContainer) -> None:
    """Add the options that say how the data and the model are read."""
    learning.add_argument("--limit", metavar="N", type=int, help="use at most N inputs")
    learning.add_argument("--rescale", metavar="F", type=float, help="factor for the inputs (default: 1/255 for bytes)")
    learning.add_argument(
        "--model", metavar="ARCH", help="architecture of a weights file: a model file, or module:function"
    )
    learning.add_argument(
        "--import", dest="imports", metavar="MODULE", action="append", default=[], help="defines layers of the model"
    )
    learning.add_argument("--unsafe", action="store_true", help="allow the model file to run its own code")


class DataOptions(TypedDict):
    """The options that say how a model file and the data given to it are read."""

    limit: int | None
    rescale: float | None
    architecture: str | None
    imports: Sequence[str]
    unsafe: bool


def data_options(args: argparse.Namespace) -> DataOptions:
    """The values of the options that `add_input_options` adds."""
    return {
        "limit": args.limit,
        "rescale": args.rescale,
        "architecture": args.model,
        "imports": args.imports,
        "unsafe": args.unsafe,
    }


DATA_OPTIONS = ("limit", "rescale", "model", "imports", "unsafe")


def require_data(args: argparse.Namespace, options: Sequence[str] = ()) -> None:
    """Refuse `options`, and those of `add_input_options`, where there is no --data.

    Raises: RecipeError naming the option.
    """
    for option in () if args.data else (*options, *DATA_OPTIONS):
        if getattr(args, option) not in (None, False, []):
            name = "import" if option == "imports" else option.replace("_", "-")
            raise RecipeError(f"--{name}: expected --data D with it")


def add_recipe_options(group: argparse._ArgumentGroup, options: Sequence[Option]) -> None:
    """Add options of an encoding; what was not given is None, and of rivals only one can be given."""
    rivals: dict[str, argparse._MutuallyExclusiveGroup] = {}
    for option in options:
        place: argparse._ActionsContainer = group
        if option.rivals:
            place = rivals[option.rivals] = rivals.get(option.rivals) or group.add_mutually_exclusive_group()
        for flag, value, text in option.switches:
            place.add_argument(flag, dest=option.word, action="store_const", const=value, help=text)
        if not option.switches:
            place.add_argument(
                option.flag,
                dest=option.word,
                metavar=option.metavar or None,
                choices=option.choices or None,
                action="append" if option.repeats else "store",
                help=option.help,
            )


_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(text: str) -> float:
    """Seconds of "90", "90s", "5m" or "1.5h".

    Raises: RecipeError.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    if not found:
        raise RecipeError(f"time: expected a number with s, m or h, got {text!r}")
    return float(found[1]) * _SECONDS[found[2]]


def parse_threads(text: str) -> int:
    """0 to 1024 threads.

    Raises: argparse.ArgumentTypeError, which is a usage error.
    """
    if not text.isdecimal() or int(text) > 1024:
        raise argparse.ArgumentTypeError(f"expected 0 to 1024 threads, got {text!r}")
    return int(text)


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
