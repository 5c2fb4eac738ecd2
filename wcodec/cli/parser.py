"""The parser: verbs, options, help. Imports nothing heavy, so that --help is immediate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from wcodec import __version__
from wcodec.cli import stdio
from wcodec.cli.commands import completion, decode, encode, evaluate, inspect, slim, sweep, verify
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
    """A verb, what it does, and the functions that add its options and run it (returning the exit code)."""

    name: str
    does: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


VERBS = (
    Verb("encode", "compress a model file to .wcz", encode.EXAMPLE, encode.add_options, encode.run),
    Verb("decode", "restore the model file of a .wcz", decode.EXAMPLE, decode.add_options, decode.run),
    Verb("inspect", "show what the bytes of a file are used for", inspect.EXAMPLE, inspect.add_options, inspect.run),
    Verb("verify", "check every checksum of a file", verify.EXAMPLE, verify.add_options, verify.run),
    Verb(
        "evaluate", "measure the accuracy of a model on examples", evaluate.EXAMPLE, evaluate.add_options, evaluate.run
    ),
    Verb("slim", "make a network smaller and faster", slim.EXAMPLE, slim.add_options, slim.run),
    Verb("sweep", "measure the size of a model against its loss", sweep.EXAMPLE, sweep.add_options, sweep.run),
    Verb("completion", "print a shell completion script", completion.EXAMPLE, completion.add_options, completion.run),
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose help fails loudly where standard output is closed."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} ({self.prog} -h lists the options)\n")

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if file is sys.stdout:
            stdio.write_data(message.rstrip("\n"))
        else:
            stdio.write_note(message.rstrip("\n"))


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; `args.run(args)` runs the verb and returns the exit code."""
    top = Parser(
        prog="wcodec",
        description="zstd for trained networks: compresses model files and restores them.",
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
        notes.add_argument("-q", "--quiet", action="store_true", help="print errors only")
        notes.add_argument("-v", "--verbose", action="store_true", help="print more")
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")
        one.set_defaults(run=verb.run, parser=top)
    return top
