"""The parser: verbs, options, help. It imports nothing heavy, so that --help is fast."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from wcodec import __version__
from wcodec.cli import stdio
from wcodec.cli.aliases import expand_aliases
from wcodec.cli.errors import USAGE
from wcodec.cli.help import add_help, describe_unknown, print_help
from wcodec.errors import suggest
from wcodec.model.dataclass import dataclass

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


EPILOG = """\
examples:
  wcodec encode model.h5          writes model.h5.wcz
  wcodec decode model.h5.wcz      writes model.h5
  wcodec help encode              the options of a verb

options of zstd and gzip work too: wcodec -9 model.h5; -d decodes, -t verifies, -l inspects; -1 to -3 are fast, -9 is
the smallest file; -c writes to standard output; -k has no effect, because the source is always kept

exit codes: 0 ok, 1 error, 2 usage, 3 corrupt, 4 budget not met, 5 unsupported or unsafe, 130 interrupted
"""


class VerbModule(Protocol):
    """The interface of a module in `commands`: an example, its options, and the function that runs it and returns the
    exit code.
    """

    EXAMPLE: str

    def add_options(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, args: argparse.Namespace, /) -> int: ...


@dataclass(frozen=True)
class Verb:
    """A verb and its description. Its module is loaded when its options are needed."""

    name: str
    does: str

    @property
    def module(self) -> VerbModule:
        """The module of the verb."""
        return cast(VerbModule, import_module(f"wcodec.cli.commands.{self.name}"))


VERBS = (
    Verb("encode", "compress a model file to .wcz"),
    Verb("decode", "restore the model file of a .wcz"),
    Verb("inspect", "show what the bytes of a file are used for"),
    Verb("verify", "check every checksum of a file"),
    Verb("evaluate", "measure the accuracy of a model on examples"),
    Verb("slim", "make a network smaller and faster"),
    Verb("sweep", "measure the size of a model against its loss"),
    Verb("rebase", "encode a .wcz again, without a base or with another one"),
    Verb("completion", "print a shell completion script"),
)
NEEDS_ALL = "completion"
"""The verb that needs the options of all others."""


class Parser(argparse.ArgumentParser):
    """A parser with errors of one line, whose help raises an error if standard output is closed.

    verbs:    of the program's parser, the parser of each verb.
    is_whole: whether all options are added.
    """

    verbs: dict[str, Parser]
    is_whole = False

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} ({self.prog} -h lists the options)\n")

    def _get_formatter(self) -> argparse.HelpFormatter:
        """One as wide as the terminal. The one that checks an added option needs no width, and `shutil` is slow."""
        if self.is_whole:
            return super()._get_formatter()
        return argparse.HelpFormatter(self.prog, width=80)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if file is sys.stdout:
            stdio.write_data(message.rstrip("\n"))
        else:
            stdio.write_note(message.rstrip("\n"))


def parse_words(words: Sequence[str]) -> argparse.Namespace | None:
    """Parse the command line, with aliases and `help VERB`; None if it is empty and the help was printed.

    Raises: SystemExit after a usage error, or after a requested help.
    """
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help", *words[2:3]]
    top = build_parser(words)
    if not words:
        print_help(top, everything=False)
        return None
    words = expand_aliases(words, top.verbs)
    if not words[0].startswith("-") and words[0] not in top.verbs:
        top.error(f"expected a verb or a file, got {words[0]!r}{suggest(words[0], top.verbs)}")
    args, unknown = top.parse_known_args(words)
    if unknown:
        parser = top.verbs.get(words[0], top)
        parser.error(describe_unknown(parser, unknown))
    return args


def build_parser(words: Sequence[str] = ()) -> Parser:
    """The parser of all verbs; `args.run(args)` runs the verb and returns the exit code.

    words: the words that will be parsed. If they start with a verb, the other verbs have no options, because loading
           these would take longer than most commands run.
    """
    asked = {verb.name for verb in VERBS if list(words[:1]) == [verb.name] and verb.name != NEEDS_ALL}
    top = Parser(
        prog="wcodec",
        description="zstd for trained networks: compresses model files and restores them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    add_help(top)
    top.add_argument("--version", action="version", version=f"wcodec {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    top.verbs = {}
    for verb in VERBS:
        if asked and verb.name not in asked:
            top.verbs[verb.name] = verbs.add_parser(verb.name, help=verb.does)
            continue
        module = verb.module
        one = verbs.add_parser(
            verb.name,
            help=verb.does,
            description=f"{verb.does[0].upper()}{verb.does[1:]}.",
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        top.verbs[verb.name] = one
        add_help(one)
        one.register("type", Path, _read_path)
        module.add_options(one)
        notes = one.add_mutually_exclusive_group()
        notes.add_argument("-q", "--quiet", action="store_true", help="print errors only")
        notes.add_argument("-v", "--verbose", action="store_true", help="print more")
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")
        one.set_defaults(run=module.run, parser=top)
    for parser in (top, *top.verbs.values()):
        parser.is_whole = True
    return top


def _read_path(text: str) -> Path:
    """The path of a file; an empty name, which `Path` takes for the current folder, is an error."""
    if not text:
        raise argparse.ArgumentTypeError("expected a file, got an empty name")
    return Path(text)
