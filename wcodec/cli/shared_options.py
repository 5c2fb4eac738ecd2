"""Options that several verbs share: data, time, threads."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wcodec.errors import RecipeError
from wcodec.planning.options import Option, spell
from wcodec.planning.run_options import INPUT_OPTIONS, REQUEST_OPTIONS, REQUEST_WORDS

if TYPE_CHECKING:
    from wcodec.api.request import DataOptions


def add_input_options(learning: argparse._ActionsContainer) -> None:
    """Add the options for reading the data and the model."""
    add_table_options(learning, INPUT_OPTIONS)


def data_options(args: argparse.Namespace) -> DataOptions:
    """The values of the options that `add_input_options` adds."""
    return {
        "limit": args.limit,
        "rescale": args.rescale,
        "architecture": args.model,
        "imports": args.imports or (),
        "unsafe": bool(args.unsafe),
    }


def require_data(args: argparse.Namespace) -> None:
    """Refuse the options of `add_input_options` without --data.

    Raises: RecipeError with the option.
    """
    for option in () if args.data else (REQUEST_WORDS["validation"], *INPUT_OPTIONS):
        if getattr(args, option.word, None) not in (None, False, []):
            raise RecipeError(f"{option.flag}: expected --data D with it")


def add_table_options(group: argparse._ActionsContainer, options: Sequence[Option]) -> None:
    """Add options of the tables. Options that are not given are None, and of rivals only one may be given.

    Those of a recipe are not parsed here, because a configuration is combined with them first.
    """
    rivals: dict[str, argparse._MutuallyExclusiveGroup] = {}
    for option in options:
        place: argparse._ActionsContainer = group
        if option.rivals:
            place = rivals[option.rivals] = rivals.get(option.rivals) or group.add_mutually_exclusive_group()
        for flag, value, text in option.switches:
            place.add_argument(flag, dest=option.word, action="store_const", const=value, help=text)
        if option.switches:
            continue
        flags = [option.flag] if option.flag.startswith("--") else [option.flag, spell(option.word)]
        place.add_argument(
            *flags,
            dest=option.word,
            metavar=option.metavar or None,
            choices=option.choices or None,
            action="append" if option.repeats else "store",
            type=make_reader(option) if option in REQUEST_OPTIONS and not option.repeats else str,
            help=option.help,
        )


def make_reader(option: Option) -> Callable[[str], object]:
    """The parser of an option's value. Its errors are those of argparse, which adds the option's name."""

    def read(text: str) -> object:
        try:
            return option.parse(option.word, text)
        except RecipeError as error:
            raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from error

    return read
