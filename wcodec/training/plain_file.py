"""The file that is coded without data, a candidate of every calibration."""

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
"""Of the file without data."""
Code = Callable[[Path, Preset], int]
"""Codes the model into a file without data, and gives its bytes."""


@dataclass(frozen=True)
class PlainFile:
    """The file that is coded without data, which a calibrated one must be better than. preset: of its recipe."""

    preset: Preset
    quality: Quality
    bytes: int


def plain_file(opened: OpenedSession, session: CalibrationSession, code: Code) -> PlainFile | None:
    """The file without data, by the gentler preset where the usual one is not within the budget; None if neither is."""
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
