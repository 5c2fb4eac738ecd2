"""`-` as a file: standard input and output pass through temporary files.

Models are not read sequentially, and a .wcz has its index at the end, so both need files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wcodec.cli import stdio
from wcodec.cli.output_paths import check_source
from wcodec.errors import WcodecError, replace_in_errors

DASH = Path("-")


def is_piped(source: Path, output: Path | None) -> bool:
    """Whether the result goes to standard output: `-o -`, or standard input without -o."""
    return output == DASH or (source == DASH and not output)


@contextmanager
def open_input(source: Path) -> Iterator[Path]:
    """The file or folder to read.

    Raises: WcodecError if there is none.
    """
    if source != DASH:
        yield check_source(source)
        return
    if stdio.is_missing(sys.stdin):
        raise WcodecError("-: expected a file in standard input, which is closed")
    if sys.stdin.buffer.isatty():
        raise WcodecError("-: expected a file in standard input, found a terminal")
    from shutil import copyfileobj
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="wcodec-") as folder:
        spooled = Path(folder) / "stdin"
        with stdio.named(f"standard input, kept in {folder}"), spooled.open("wb") as file:
            copyfileobj(sys.stdin.buffer, file, 1 << 20)
        with replace_in_errors(str(spooled), "standard input"):
            yield spooled


@contextmanager
def open_output(force: bool) -> Iterator[Path]:
    """A context with a file that is copied to standard output if the block succeeds.

    Raises: WcodecError if standard output is closed, or a terminal without `force`; OSError, BrokenPipeError.
    """
    if stdio.is_missing(sys.stdout):
        raise WcodecError("-: expected a file or a pipe as standard output, which is closed")
    if sys.stdout.buffer.isatty() and not force:
        raise WcodecError("-: expected a file or a pipe as standard output, found a terminal; -f writes to it")
    from shutil import copyfileobj
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="wcodec-") as folder:
        made = Path(folder) / "stdout"
        with stdio.named(f"standard output, kept in {folder}", folder):
            yield made
        with stdio.named("standard output"), made.open("rb") as file:
            copyfileobj(file, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
