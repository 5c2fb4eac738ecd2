"""The three standard streams when they are missing, full or closed by whoever reads them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def open_missing() -> None:
    """Give every closed standard descriptor (`>&-`) a place, so that no file of ours lands on its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def write_data(text: str) -> None:
    """Write to standard output and see it leave: a full disk or a reader that went away is known here.

    Raises: OSError, BrokenPipeError.
    """
    if sys.stdout is not None:
        print(text, flush=True)


def write_note(text: str) -> None:
    """Write to standard error; nobody to read it is no reason to fail."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        abandon(2)


def choose_log(quiet: bool) -> Callable[[str], None]:
    """Where lines of progress go: to standard error, or nowhere with --quiet."""
    return (lambda _: None) if quiet else write_note


def abandon(number: int) -> None:
    """Send what is still buffered for a stream to nowhere, so that the interpreter ends without a complaint."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
