"""The three standard streams, which may be missing, full, or closed by their reader."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from wcodec.errors import escape_controls
from wcodec.reporting.plain_text import wrap


def open_missing() -> None:
    """Open every closed standard descriptor (`>&-`) on the null device, so that no file gets its number, and every
    missing stream, because Python has None for it, which `print` takes for standard output.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the end


def is_missing(stream: TextIO) -> bool:
    """Whether the caller closed this stream (`>&-`): `open_missing` opened it. One that leads to the null device
    (`> /dev/null`) has another name.
    """
    return getattr(stream, "name", None) == os.devnull


def buffer_output() -> None:
    """Put a buffer before standard output where it has none (PYTHONUNBUFFERED, `python -u`).

    Without one, a write that the system does in part loses the rest of its bytes, and nobody is told.
    """
    old, raw = sys.stdout, getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.FileIO) and raw.fileno() == 1:
        buffer = io.BufferedWriter(io.FileIO(1, "w", closefd=False))
        sys.stdout = io.TextIOWrapper(buffer, old.encoding, old.errors, line_buffering=True)


def write_data(text: str) -> None:
    """Write to standard output and flush it, so that a full disk or a closed pipe is an error here. Whoever closed it
    before (`>&-`) wants no text, as with `> /dev/null`.

    Raises: OSError that names standard output, BrokenPipeError.
    """
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
    if not sys.stderr.isatty():
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
