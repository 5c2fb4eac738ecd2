"""The tree of errors. Every message has the place, what was expected, and what was found.

    WcodecError
    +-- RecipeError         the request cannot be met (bad pattern, impossible option)
    +-- ModelFileError      the model file is not supported, or is damaged or hostile
    +-- BudgetError         no encoding met the requested budget
    +-- ContainerError      the .wcz is not decodable
        +-- TruncatedError      it ends early
        +-- CorruptError        its bytes contradict themselves or a checksum
        +-- UnsupportedError    it needs a feature that this reader does not have

Foreign errors (OSError of h5py, struct.error, zlib, zstd) are translated where they arise, with ``from``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def escape_controls(text: str) -> str:
    """The text with a replacement for control, bidirectional and other invisible characters, except tabs and ends of
    lines.

    A terminal would execute them, and names come from untrusted files.
    """
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text  # at once, since pages and JSON of many tensors have millions of characters
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def escape_name(name: object) -> str:
    """The text of `escape_controls` on one line, for the name of a file or a tensor."""
    return escape_controls(str(name)).replace("\n", "\ufffd").replace("\t", "\ufffd")


class WcodecError(Exception):
    """Base of every error that wcodec raises intentionally.

    Its text is safe to show, even with the text of a library in it.
    """

    def __str__(self) -> str:
        return escape_controls(super().__str__())


class RecipeError(WcodecError):
    """The request cannot be met: an option, pattern or plan that contradicts the model."""


class ModelFileError(WcodecError):
    """A model file that is not readable, or not safe to read."""


class BudgetError(WcodecError):
    """No encoding met the requested budget; nothing was written."""


class ContainerError(WcodecError):
    """A .wcz file that cannot be decoded."""


class TruncatedError(ContainerError):
    """The container ends before its contents do."""


class CorruptError(ContainerError):
    """The container contradicts itself or fails a checksum."""


class UnsupportedError(ContainerError):
    """The container needs a feature that this reader does not have."""


@contextmanager
def replace_in_errors(place: str, name: str) -> Iterator[None]:
    """A context whose errors have `name` in place of `place`, a temporary file that the user does not know."""
    try:
        yield
    except WcodecError as error:
        error.args = (str(error).replace(place, name),)
        raise


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """A context whose errors about a file's contents name the file, so that they are not taken for those of another."""
    try:
        yield
    except (ContainerError, ModelFileError) as error:
        if path.name not in str(error):
            error.args = (f"{path}: {error}",)
        raise


def suggest(wrong: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" if one of the known words is similar, otherwise ""."""
    from difflib import get_close_matches  # noqa: PLC0415 - for what is wrong only

    near = get_close_matches(wrong, list(known), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""
