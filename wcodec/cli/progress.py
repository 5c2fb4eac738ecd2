"""How far it is, on standard error, where a person is looking."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wcodec.model import TensorFacts

Watch = Callable[[TensorFacts], None]


@contextmanager
def watched(verb: str, quiet: bool) -> Iterator[Watch | None]:
    """A callback that moves a bar on the terminal; None where nobody looks."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed} tensors"),
        TextColumn("{task.fields[name]}"), TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=None, name="")

        def tick(facts: TensorFacts) -> None:
            bar.update(task, advance=1, name=facts.name)

        yield tick
