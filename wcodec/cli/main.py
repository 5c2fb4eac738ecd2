"""The program: it parses the command line, runs a verb, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import atexit
import gc
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from wcodec.cli import stdio
from wcodec.cli.errors import BROKEN_PIPE, INTERRUPTED, OK, describe_error, find_exit_code, spell_options
from wcodec.cli.parser import parse_words
from wcodec.errors import ContainerError, ModelFileError, RecipeError, WcodecError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. It never raises; a traceback is shown only with --debug."""
    stdio.open_missing()
    stdio.buffer_output()
    gc.set_threshold(
        50_000, 20, 50
    )  # importing modules makes many objects and no garbage: saves 15 ms of most commands
    atexit.register(gc.freeze)  # no garbage collection at the end: saves 40 ms of most commands
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with _unwind_on_termination():
            return _run(words)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else OK
    except BaseException as error:  # the border: every error becomes one line
        return _report(error, debug="--debug" in words)


def _run(words: list[str]) -> int:
    args = parse_words(words)
    if args is None:
        return OK
    sources = getattr(args, "source", None)
    if not isinstance(sources, list):
        return _run_verb(args)
    if len(sources) > 1:
        for word in ("output", "report"):
            if getattr(args, word, None) is not None:
                raise RecipeError(f"--{word}: expected one file with it, got {len(sources)}")
    codes = [_run_one(args, source, several=len(sources) > 1) for source in sources]
    return next((code for code in codes if code != OK), OK)


def _run_one(args: argparse.Namespace, source: Path, several: bool) -> int:
    """Run the verb on one of the files. With several files, an error of one does not stop the others."""
    alone = argparse.Namespace(**{**vars(args), "source": source, "several": several})
    if not several:
        return _run_verb(alone)
    try:
        return _run_verb(alone)
    except (WcodecError, FileNotFoundError) as error:
        return _report(error, debug=bool(args.debug))


def _run_verb(args: argparse.Namespace) -> int:
    try:
        code = args.run(args)
    except RecipeError as error:
        raise RecipeError(spell_options(str(error), vars(args))) from error
    except (ContainerError, ModelFileError) as error:
        source = getattr(args, "source", None)
        others = [Path(one) for word in ("baseline", "base") if (one := getattr(args, word, None))]
        if source is None or any(one.name in str(error) for one in (source, *others)):
            raise
        raise type(error)(f"{source}: {error}") from error
    assert isinstance(code, int)
    return code


def _report(error: BaseException, debug: bool) -> int:
    code = find_exit_code(error)
    if debug:
        import traceback

        stdio.write_note("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, OSError):
        stdio.abandon(1)
    if code == INTERRUPTED:
        stdio.write_note("wcodec: interrupted")
    elif code != BROKEN_PIPE:
        stdio.write_note(f"wcodec: {describe_error(error)}")
    return code


@contextmanager
def _unwind_on_termination() -> Iterator[None]:
    """A context in which a termination signal unwinds the stack as Ctrl-C does, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    heeded = [number for number in numbers if before[number] is not signal.SIG_IGN]  # nohup ignores SIGHUP
    for number in heeded:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
