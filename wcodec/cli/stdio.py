"""The three standard streams, which may be missing, full, or closed by their reader."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wcodec.errors import escape_controls
from wcodec.reporting.plain_text import wrap


def open_missing() -> None:
    """Open every closed standard descriptor (`>&-`) on the null device, so that no file gets its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def buffer_output() -> None:
    """Put a buffer before standard output where it has none (PYTHONUNBUFFERED, `python -u`).

    Without one, a write that the system does in part loses the rest of its bytes, and nobody is told.
    """
    old, raw = sys.stdout, getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.FileIO) and raw.fileno() == 1:
        buffer = io.BufferedWriter(io.FileIO(1, "w", closefd=False))
        sys.stdout = io.TextIOWrapper(buffer, old.encoding, old.errors, line_buffering=True)


def write_data(text: str) -> None:
    """Write to standard output and flush it, so that a full disk or a closed pipe is an error here.

    Raises: OSError that names standard output, BrokenPipeError.
    """
    if sys.stdout is not None:
        with named("standard output"):
            print(escape_controls(text), flush=True)


@contextmanager
def named(place: str, folder: str | None = None) -> Iterator[None]:
    """A context whose system errors without a file name, or about files of a temporary `folder`, name this place.

    Raises: OSError, of the same kind.
    """
    try:
        yield
    except OSError as error:
        is_own = error.filename is None or (folder is not None and str(error.filename).startswith(folder))
        if not is_own or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or os.strerror(error.errno), place) from error


def write_note(text: str) -> None:
    """Write to standard error, wrapped to the width of a terminal; a closed stream is not an error."""
    try:
        print(_wrap(escape_controls(text)), file=sys.stderr, flush=True)
    except OSError:
        abandon(2)


def _wrap(text: str) -> str:
    if sys.stderr is None or not sys.stderr.isatty():
        return text
    from shutil import get_terminal_size

    return wrap(text, get_terminal_size().columns)


def choose_log(quiet: bool) -> Callable[[str], None]:
    """The function for lines of progress: to standard error, or no output with --quiet."""
    return (lambda _: None) if quiet else write_note


def abandon(number: int) -> None:
    """Send the rest of a stream to the null device, so that the interpreter exits without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
