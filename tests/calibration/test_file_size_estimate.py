"""The file sizes that a search reports: measured, or scaled from the last measured one."""

from __future__ import annotations

from collections.abc import Mapping

from wcodec.calibration.file_size_estimate import FileSize
from wcodec.model import TunedTensor


def test_an_estimate_near_the_last_one_is_scaled_and_others_are_measured() -> None:
    asked: list[int] = []

    def measure(_: Mapping[str, TunedTensor]) -> int:
        asked.append(1)
        return 100 + 950 * len(asked)

    size = FileSize(100, measure)
    assert size.like(1000) == 1100  # nothing was measured yet
    assert size.of(1000, dict) == 1050
    assert size.of(1040, dict) == 100 + round(950 * 1.04)
    assert len(asked) == 1
    assert size.of(2000, dict) == 2000
    assert size.like(1000) == 100 + 950
    assert size.of(2000, dict, near=0.0) == 2950


def test_without_a_measurement_the_rest_of_the_file_is_added() -> None:
    assert FileSize(70).of(1000, dict) == 1070
    assert FileSize().like(5) == 5
