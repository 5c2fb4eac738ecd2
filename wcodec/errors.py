"""What can go wrong, as a tree. Every message says where, what, expected and got.

    WcodecError
    +-- RecipeError         the request cannot be met (bad pattern, impossible option)
    +-- ModelFileError      the model file is not one we read, or is damaged or hostile
    +-- BudgetError         nothing met the asked budget
    +-- ContainerError      the .wcz is not decodable
        +-- TruncatedError      it ends early
        +-- CorruptError        its bytes contradict themselves or a checksum
        +-- UnsupportedError    it asks for something this reader does not know

Foreign errors (OSError of h5py, struct.error, zlib, zstd) are translated where they arise, with ``from``.
"""

from __future__ import annotations

from collections.abc import Iterable


def escape_controls(text: str) -> str:
    """The text with a mark for each control, bidirectional or other invisible character but tabs and ends of lines,
    since a terminal obeys them and names come from files of anybody."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


class WcodecError(Exception):
    """Base of every error that wcodec raises on purpose. Its text is safe to show, also what a library said in it."""

    def __str__(self) -> str:
        return escape_controls(super().__str__())


class RecipeError(WcodecError):
    """The request cannot be met: an option, pattern or plan that contradicts the model."""


class ModelFileError(WcodecError):
    """A model file that is not readable, or not safe to read."""


class BudgetError(WcodecError):
    """No encoding met the asked budget; nothing was written."""


class ContainerError(WcodecError):
    """A .wcz file that cannot be decoded."""


class TruncatedError(ContainerError):
    """The container ends before its contents do."""


class CorruptError(ContainerError):
    """The container contradicts itself or fails a checksum."""


class UnsupportedError(ContainerError):
    """The container needs a feature that this reader does not have."""


def suggest(wrong: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" where one of the known words is near, else nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - for what is wrong only

    near = get_close_matches(wrong, list(known), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""
