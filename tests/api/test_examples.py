"""The examples of samples/examples that need no extra but Keras run, and say what their texts promise."""

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
    return [[int(one.replace(",", "")) for one in re.findall(r"\d[\d,]*\d(?=\D)", line)] for line in lines]


@pytest.mark.parametrize("figures", ["in_memory.py"], indirect=True)
def test_arrays_in_memory_go_there_and_back(figures: list[list[int]]) -> None:
    source, exact, small, bits = figures[-1]
    assert small < bits < exact < source


@pytest.mark.parametrize("figures", ["training_loop.py"], indirect=True)
def test_a_chain_of_checkpoints_is_smaller_than_its_files_alone(figures: list[list[int]]) -> None:
    chain, alone = figures
    assert len(chain) == len(alone) == 3
    assert sum(chain) < sum(alone)


@pytest.mark.parametrize("figures", ["family.py"], indirect=True)
def test_a_family_of_twelve_takes_less_than_half(figures: list[list[int]]) -> None:
    _, source, alone, family = figures[-1]
    assert 2 * family < alone < source
