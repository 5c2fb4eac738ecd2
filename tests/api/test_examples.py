"""The examples of samples/examples that need no extra but Keras run, and print the sizes that their texts state."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "samples" / "examples"


@pytest.fixture
def figures(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> list[list[int]]:
    """The byte counts that an example prints, line by line."""
    runpy.run_path(str(EXAMPLES / request.param), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    return [[int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d(?=\D)", line)] for line in lines]


@pytest.mark.parametrize("figures", ["in_memory.py"], indirect=True)
def test_encoded_arrays_are_smaller_than_their_source(figures: list[list[int]]) -> None:
    source, exact, small, bits = figures[-1]
    assert small < bits < exact < source


@pytest.mark.parametrize("figures", ["training_loop.py"], indirect=True)
def test_a_chain_of_checkpoints_is_smaller_than_separate_files(figures: list[list[int]]) -> None:
    chain, alone = figures
    assert len(chain) == len(alone) == 3
    assert sum(chain) < sum(alone)


@pytest.mark.parametrize("figures", ["family.py"], indirect=True)
def test_a_family_of_twelve_takes_less_than_half_of_separate_files(figures: list[list[int]]) -> None:
    _, source, alone, family = figures[-1]
    assert 2 * family < alone < source
