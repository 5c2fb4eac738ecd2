"""The file that is encoded without data. It is a candidate of every calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

from wcodec.calibration.quality import Quality, measure_quality
from wcodec.calibration.request import OpenedSession
from wcodec.calibration.session import CalibrationSession
from wcodec.errors import BudgetError
from wcodec.evaluation.runner import Runner, is_runner
from wcodec.planning.recipe import Preset

PRESETS_TRIED: Final[tuple[Preset, ...]] = ("balanced", "safe")
"""The presets of the file without data, in the order in which they are tried."""
Code = Callable[[Path, Preset], int]
"""code(path, preset) encodes the model without data and returns the size of the file in bytes."""


@dataclass(frozen=True)
class PlainFile:
    """A file encoded without data. A calibrated file must be better than it. preset: of its recipe."""

    preset: Preset
    quality: Quality
    bytes: int


@contextmanager
def round_missed(opened: OpenedSession, session: CalibrationSession, code: Code | None) -> Iterator[None]:
    """A context in which weights that no trial rounds have the values that a file has for them, so that trials measure
    what these lose, too. Keras networks have no such weights.
    """
    model, table = session.model, opened.table
    if code is None or not table.missed or not is_runner(model):
        yield
        return
    with TemporaryDirectory(prefix="wcodec-") as folder:
        path = Path(folder) / "plain.wcz"
        try:
            code(path, PRESETS_TRIED[0])
        except BudgetError:
            yield
            return
        restored = cast("Runner", opened.request.load(path))
    missed = [index for index, names in table.names.items() if not set(table.missed).isdisjoint(names)]
    kept = [model.weights[index].read() for index in missed]
    for index in missed:
        model.weights[index].assign(restored.weights[index].read())
    try:
        yield
    finally:
        for index, values in zip(missed, kept, strict=True):
            model.weights[index].assign(values)


def plain_file(opened: OpenedSession, session: CalibrationSession, code: Code) -> PlainFile | None:
    """The file without data. The gentler preset is tried if the default one exceeds the budget; None if both do."""
    request = opened.request
    for preset in PRESETS_TRIED:
        with TemporaryDirectory(prefix="wcodec-") as folder:
            path = Path(folder) / "plain.wcz"
            try:
                size = code(path, preset)
            except BudgetError:
                return None
            found = PlainFile(preset, measure_quality(session, request.load(path)), size)
        if request.budget.of_outputs(1.0).allows(found):
            return found
    return None
