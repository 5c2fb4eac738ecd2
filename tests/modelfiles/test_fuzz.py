"""A sample of `make fuzz`: mutated model files of every kind, read in separate processes."""

from __future__ import annotations

import pytest
from attack.model_mutations import SEEDS
from attack.model_storm import MEGABYTES, SECONDS, storm
from conftest import THOROUGH


@pytest.mark.parametrize("kind", SEEDS)
def test_mutated_model_files_are_read_or_refused_within_bounds(kind: str) -> None:
    report = storm(kind, 2000 if THOROUGH else 45)
    assert report.wrong == []
    assert report.done + report.refused == report.cases
    assert report.peak < MEGABYTES
    assert report.slowest < SECONDS
