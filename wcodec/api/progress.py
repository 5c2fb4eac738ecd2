"""Progress of an encoding in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from wcodec.api.request import Listeners
from wcodec.errors import RecipeError, escape_controls
from wcodec.model.dataclass import dataclass

if TYPE_CHECKING:
    from wcodec.calibration.progress import SearchProgress
    from wcodec.model import TensorSpec


@dataclass(frozen=True)
class ProgressEvent:
    """A finished step.

    text:   one line, the result of `str`.
    tensor: the tensor that was coded, or None.
    search: the point of the search that was measured, or None.
    """

    text: str
    tensor: TensorSpec | None = None
    search: SearchProgress | None = None

    def __str__(self) -> str:
        return escape_controls(self.text)


def make_listeners(progress: bool | Callable[[ProgressEvent], object]) -> Listeners:
    """Listeners that pass every event to `progress`, or to standard error if it is True.

    Raises: RecipeError for anything else.
    """
    if progress is False or progress is None:
        return Listeners()
    if progress is not True and not callable(progress):
        raise RecipeError(f"progress: expected True, False or a function, got {progress!r:.80}")
    tell = _write if progress is True else progress

    def search(point: SearchProgress) -> None:
        done = "" if point.done is None else f" {100 * point.done:.0f} %"
        text = f"{point.doing}{done}: about {point.bytes:,} bytes, {point.divergence}"
        tell(ProgressEvent(text, search=point))

    def tensor(facts: TensorSpec) -> None:
        tell(ProgressEvent(facts.name, tensor=facts))

    def log(line: str) -> None:
        tell(ProgressEvent(line))

    return Listeners(
        log=log,
        search=lambda: nullcontext(search),
        tensors=lambda: nullcontext(tensor),
    )


def _write(event: ProgressEvent) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{event}\n")
