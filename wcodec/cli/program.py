"""The program: parse, run a verb, turn what goes wrong into one line and an exit code."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from wcodec.cli import streams
from wcodec.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, OK, TERMINATED, code_of, line_of
from wcodec.cli.grammar import parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Never raises, never leaves a traceback without --debug."""
    streams.open_missing()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with _terminable():
            code = _run(words)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
    except SystemExit as stop:
        return _flushed(stop.code if isinstance(stop.code, int) else OK)
    except BaseException as error:  # the border: whatever it is becomes one line
        return _report(error, debug="--debug" in words)


def _run(words: list[str]) -> int:
    args = parser().parse_args(words)
    code = args.run(args)
    assert isinstance(code, int)
    return code


def _flushed(code: int) -> int:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return _report(error, debug=False)
    return code


def _report(error: BaseException, debug: bool) -> int:
    code = code_of(error)
    if debug:
        streams.write_note("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, OSError):
        streams.abandon(1)
    if code == INTERRUPTED:
        streams.write_note("wcodec: interrupted")
    elif code != BROKEN_PIPE:
        streams.write_note(f"wcodec: {line_of(error)}")
    return code


@contextmanager
def _terminable() -> Iterator[None]:
    """Let a termination signal unwind like Ctrl-C does, so that temporary files go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)
