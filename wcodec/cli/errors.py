"""Conversion of exceptions to exit codes and to one line of text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from wcodec import errors
from wcodec.errors import escape_controls

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
CORRUPT: Final = 3
BUDGET: Final = 4
UNSUPPORTED: Final = 5
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
MOST: Final = 2000
"""The largest number of characters of an error."""

CODES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.RecipeError, USAGE),
    (errors.BudgetError, BUDGET),
    (errors.UnsupportedError, UNSUPPORTED),
    (errors.ContainerError, CORRUPT),
    (errors.ModelFileError, UNSUPPORTED),
    (errors.WcodecError, ERROR),
    (KeyboardInterrupt, INTERRUPTED),
    (BrokenPipeError, BROKEN_PIPE),
)
"""First match wins; everything else is `ERROR`."""


def find_exit_code(error: BaseException) -> int:
    """The exit code of an error."""
    return next((code for kind, code in CODES if isinstance(error, kind)), ERROR)


def describe_error(error: BaseException) -> str:
    """The error on one line: the message of wcodec's errors; the file and the reason of system errors."""
    if isinstance(error, errors.WcodecError):
        text = str(error)
    elif isinstance(error, OSError):
        where = error.filename if error.filename2 is None else error.filename2
        text = f"{where}: {error.strerror}" if where is not None else error.strerror or str(error)
    elif isinstance(error, MemoryError):
        text = "not enough memory"
    else:
        text = f"internal error, please report it: {type(error).__name__}: {error} (--debug shows where)"
    line = escape_controls(" ".join(text.split()))
    return line if len(line) <= MOST else f"{line[: MOST // 2]} ... {line[-MOST // 2 :]}"


def spell_options(text: str, words: Mapping[str, object]) -> str:
    """An error whose options are spelled as on the command line.

    words: the values of the command line by the words of `options.OPTIONS`; None and False mean that an option was not
           given.

    >>> spell_options("max_error: expected a number between 0 and 1, got 7", {"max_error": 7.0})
    '--max-error: expected a number between 0 and 1, got 7'
    """
    from wcodec.planning.options import OPTIONS, spell

    said = {word for word, value in words.items() if value is not None and value is not False}

    def respell(found: re.Match[str]) -> str:
        word = found[0]
        own = [(option.word, option.flag) for option in OPTIONS if word in {option.word, option.target}]
        return next((flag for name, flag in own or [(word, spell(word))] if name in said), word)

    head, colon, rest = text.partition(":")
    if not re.fullmatch(r"\w+( and \w+| [\w-]+)*", head):
        return text
    rest = re.sub(r"\b[a-z]+(_[a-z]+)+\b|(?<=, got )[a-z]+$", respell, rest)
    return re.sub(r"(?<![\w-])\w+", respell, head) + colon + rest
