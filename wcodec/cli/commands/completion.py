"""wcodec completion: print a script that completes verbs, options and file names in the shell."""

from __future__ import annotations

import argparse

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.errors import WcodecError

EXAMPLE = "wcodec completion bash > ~/.local/share/bash-completion/completions/wcodec"
FILES = frozenset({"SRC", "OUT", "OUT.wcz", "X.wcz", "MODEL", "F.toml"})
"""Metavariables for file names."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")


def run(args: argparse.Namespace) -> int:
    """Print the script.

    Raises: WcodecError if shtab is missing.
    """
    try:
        import shtab
    except ImportError as error:
        raise WcodecError("completion: needs the package shtab; pip install 'wcodec[completions]' brings it") from error
    _mark_files(args.parser)
    stdio.write_data(shtab.complete(args.parser, args.shell))
    return OK


def _mark_files(parser: argparse.ArgumentParser) -> None:
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _mark_files(verb)
        elif action.metavar in FILES:
            setattr(action, "complete", shtab.FILE)  # noqa: B010 - argparse does not know the attribute
