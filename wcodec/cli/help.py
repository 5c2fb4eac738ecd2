"""The help of a verb: its ten most frequent options by group, or with `all` every option, each with its default."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from wcodec.errors import suggest

SHORT: Final[dict[str, tuple[str, ...]]] = {
    "encode": ("output", "force", "lossless", "preset", "sparsity", "bits", "target_size", "set", "data", "finetune"),
    "sweep": ("data", "points", "time_limit", "limit", "report", "force", "json", "quantizer", "set", "exclude"),
    "slim": ("output", "force", "width", "macs", "low_rank", "data", "max_drop", "finetune", "criterion", "json"),
    "evaluate": ("data", "baseline", "max_drop", "score", "limit", "model", "json", "quiet", "verbose", "rescale"),
}
"""By verb: the options of the short help, as the parser stores them; other verbs have few options."""
ALWAYS: Final = ("help", "help_all", "source", "shell", "verb")
NO_DEFAULT: Final = ("help", "help_all", "version", "source", "shell", "verb")


class Help(argparse.Action):
    """-h and --help, which may be followed by `all`; --help-all."""

    def __init__(self, option_strings: Sequence[str], dest: str, nargs: str | int = "?") -> None:
        whole = nargs == 0
        text = "show every option, with its default" if whole else "show this help; -h all: every option"
        super().__init__(option_strings, dest, nargs=nargs, default=argparse.SUPPRESS, help=text, metavar="all")

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Print the help and end the program."""
        print_help(parser, values == "all" or option_string == "--help-all")
        parser.exit()


def add_help(parser: argparse.ArgumentParser) -> None:
    """Add -h, --help and --help-all to a parser that has none."""
    parser.add_argument("-h", "--help", action=Help)
    parser.add_argument("--help-all", action=Help, nargs=0)


def print_help(parser: argparse.ArgumentParser, everything: bool) -> None:
    """Print the help of a verb, or of the program, to standard output."""
    actions = parser._actions
    texts = [action.help for action in actions]
    wanted = SHORT.get(parser.prog.rpartition(" ")[2])
    hidden = [one for one in actions if wanted and not everything and one.dest not in (*wanted, *ALWAYS)]
    for action in actions:
        if action in hidden:
            action.help = argparse.SUPPRESS
        elif everything:
            action.help = with_default(action)
    epilog = parser.epilog
    if hidden:
        parser.epilog = f"{len(hidden)} more options: {parser.prog} -h all\n\n{epilog or ''}"
    try:
        parser.print_help()
    finally:
        parser.epilog = epilog
        for action, text in zip(actions, texts, strict=True):
            action.help = text


def with_default(action: argparse.Action) -> str | None:
    """The help of an option followed by its default, unless the help mentions it."""
    if not action.help or action.help == argparse.SUPPRESS or action.dest in NO_DEFAULT or "default" in action.help:
        return action.help
    if isinstance(action, argparse._SubParsersAction):
        return action.help
    default = "no" if action.nargs == 0 else action.default if action.default not in (None, []) else "none"
    return f"{action.help} (default: {default})"


def describe_unknown(parser: argparse.ArgumentParser, words: Sequence[str]) -> str:
    """A message about unknown options, with a similar option of this or another verb."""
    known = [flag for action in parser._actions for flag in action.option_strings]
    near = [suggest(word.partition("=")[0], known) for word in words if word.startswith("-")]
    return f"unrecognized arguments: {' '.join(words)}{''.join(near)}"
