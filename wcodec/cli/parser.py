"""The parser: verbs, options, help. Imports nothing heavy, so that --help is immediate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from wcodec import __version__
from wcodec.cli import stdio
from wcodec.cli.commands import completion, decode, encode, evaluate, inspect, sweep, verify
from wcodec.cli.errors import USAGE

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


EPILOG = """\
example:
  wcodec encode model.h5          writes model.h5.wcz
  wcodec decode model.h5.wcz      writes model.h5

exit codes: 0 ok, 1 error, 2 usage, 3 corrupt, 4 budget not met, 5 unsupported or unsafe, 130 interrupted
"""


@dataclass(frozen=True)
class Verb:
    """A word, what it does, and the module's functions that add its options and run it (giving the exit code)."""

    name: str
    does: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


VERBS = (
    Verb("encode", "model file -> .wcz", encode.EXAMPLE, encode.add_options, encode.run),
    Verb("decode", ".wcz -> model file", decode.EXAMPLE, decode.add_options, decode.run),
    Verb("inspect", "show where the bytes of a file go", inspect.EXAMPLE, inspect.add_options, inspect.run),
    Verb("verify", "decode into nothing, checking every checksum", verify.EXAMPLE, verify.add_options, verify.run),
    Verb("evaluate", "run a model on examples", evaluate.EXAMPLE, evaluate.add_options, evaluate.run),
    Verb("sweep", "show what each byte of a model buys", sweep.EXAMPLE, sweep.add_options, sweep.run),
    Verb("completion", "print a script for the tab key", completion.EXAMPLE, completion.add_options, completion.run),
)


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong on one line, and does not hide that nobody could read its help."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} ({self.prog} -h shows what is possible)\n")

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if file is sys.stdout:
            stdio.write_data(message.rstrip("\n"))
        else:
            stdio.write_note(message.rstrip("\n"))


def build_parser() -> argparse.ArgumentParser:
    """The whole parser; `args.run(args)` is the verb and returns the exit code."""
    top = Parser(
        prog="wcodec",
        description="zstd for trained networks: makes model files small, and brings them back.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"wcodec {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    for verb in VERBS:
        one = verbs.add_parser(
            verb.name,
            help=verb.does,
            description=f"{verb.does[0].upper()}{verb.does[1:]}.",
            epilog=f"example:\n  {verb.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        verb.add_options(one)
        notes = one.add_mutually_exclusive_group()
        notes.add_argument("-q", "--quiet", action="store_true", help="nothing on standard error but errors")
        notes.add_argument("-v", "--verbose", action="store_true", help="say more")
        one.add_argument("--debug", action="store_true", help="show where an error comes from")
        one.set_defaults(run=verb.run, parser=top)
    return top
