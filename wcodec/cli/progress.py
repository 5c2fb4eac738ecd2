"""Progress on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.errors import escape_controls
from wcodec.model import TensorSpec

if TYPE_CHECKING:
    from rich.table import Table

    from wcodec.calibration.progress import SearchProgress


Watch = Callable[[TensorSpec], None]


@contextmanager
def show_progress(verb: str, quiet: bool) -> Iterator[Watch | None]:
    """A callback that moves a progress bar on the terminal; None without a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed} tensors"),
        TextColumn("{task.fields[name]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=None, name="")

        def tick(facts: TensorSpec) -> None:
            bar.update(task, advance=1, name=escape_controls(facts.name))

        yield tick


@contextmanager
def show_steps(verb: str, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """A callback that shows on the terminal what is done and its fraction; no output elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=1.0)
        yield lambda doing, part: bar.update(task, description=doing, completed=part)


SHOWN = 8
"""Rows of the table on a terminal."""
EVERY = 10.0
"""Seconds between two lines of training without a terminal."""


@contextmanager
def show_search(quiet: bool) -> Iterator[Callable[[SearchProgress], None]]:
    """A callback that shows the progress of a search: a table on a terminal, lines elsewhere."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _show_table() as watch:
            yield watch
    else:
        yield _print_lines()


def _print_lines() -> Callable[[SearchProgress], None]:
    last = [float("-inf")]

    def watch(now: SearchProgress) -> None:
        if now.done is None or time.monotonic() - last[0] >= EVERY:
            if now.done is not None:
                last[0] = time.monotonic()
            done = "" if now.done is None else f" {100 * now.done:.0f} %"
            moved = now.divergence if now.values else f"{now.divergence}, {now.prediction}"
            budget = "" if now.allowed else f", not in the budget ({now.limit or 'see its bounds'})"
            stdio.write_note(f"{now.doing}{done}: about {now.bytes:,} bytes, {moved}{budget}")

    return watch


@contextmanager
def _show_table() -> Iterator[Callable[[SearchProgress], None]]:
    from rich.console import Console
    from rich.live import Live

    points: list[SearchProgress] = []
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:

        def watch(now: SearchProgress) -> None:
            if points and points[-1].done is not None and now.done is not None:
                points[-1] = now  # training is one row that is updated
            else:
                points.append(now)
            live.update(_make_table(points, points[-SHOWN:]), refresh=True)

        try:
            yield watch
        finally:
            if points:  # the trials stay on the screen
                live.transient = False
                live.update(_make_table(points, points), refresh=True)


def _make_table(points: list[SearchProgress], shown: list[SearchProgress]) -> Table:
    from rich.table import Table

    within = [point.bytes for point in points if point.allowed]
    best = f"best so far: about {min(within):,} bytes; " if within else ""
    table = Table(caption=f"{best}Ctrl-C takes the best found", box=None, header_style="bold")
    table.add_column("")
    values = points[-1].values
    titles = ("output error",) if values else ("nats", "points predicted")
    for title in ("bytes", *titles, "in budget"):
        table.add_column(title, justify="right")
    for point in shown:
        done = "" if point.done is None else f" {100 * point.done:.0f} %"
        drop = f"{point.drop:.2f}" + (f" to {point.drop + point.chance:.2f}" if point.chance else "")
        lost = (f"{point.kl:.2e}",) if values else (f"{point.kl:.4f}", drop)
        table.add_row(point.doing + done, f"{point.bytes:,}", *lost, point.answer)
    return table
