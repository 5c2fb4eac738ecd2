"""The file that is encoded without data. It is a candidate of every calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from wcodec.calibration.quality import Quality, measure_quality
from wcodec.calibration.request import OpenedSession
from wcodec.calibration.session import CalibrationSession
from wcodec.errors import BudgetError
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
