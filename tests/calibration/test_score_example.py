"""The example of --score, which needs no framework."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "samples" / "examples"


def test_the_example_of_a_score_keeps_the_embeddings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = EXAMPLES / "embeddings_by_score.py"
    monkeypatch.setattr(sys, "argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    before, after = (int(one.replace(",", "")) for one in re.findall(r"[\d,]{4,}", printed)[:2])
    assert after < before / 8
    assert float(printed.split()[-1]) >= 0.995
