"""The committed records show what their page says, on the test images."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT

from wcodec.evaluation.evaluate import evaluate
from wcodec.reporting.inspection import inspect

SAMPLES = ROOT / "samples"
RECORDS = SAMPLES / "records"


@dataclass(frozen=True)
class Bar:
    """Bytes of the weights and of the file, at most; error of the test images in percent, at most."""

    weights: int
    file: int
    error: float


BARS = {
    "lenet300": Bar(4000, 4600, 1.60),
    "lenet300-small": Bar(3100, 3700, 1.90),
    "lenet5": Bar(3300, 4000, 0.80),
    "lenet5-small": Bar(1900, 2500, 1.00),
    "tutorial_cnn": Bar(1000, 1300, 2.11),
    "tutorial_cnn-small": Bar(800, 1300, 3.00),
}


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.wcz")), ids=lambda path: path.stem)
def test_a_record_is_within_its_bounds(path: Path) -> None:
    bar, numbers = BARS[path.stem], inspect(path)
    assert numbers.weight_bytes <= bar.weights
    assert numbers.file_bytes <= bar.file
    accuracy = evaluate(path, f"{SAMPLES / 'mnist.npz'}:test").accuracy
    assert accuracy is not None
    assert 100 - accuracy <= bar.error + 1e-9


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.wcz")), ids=lambda path: path.stem)
def test_the_page_has_the_figures_of_a_record(path: Path) -> None:
    page = (RECORDS / "README.md").read_text("utf-8")
    row = re.search(rf"\| `{path.name}` \| ([\d,]+) \| ([\d,]+) \|", page)
    assert row, path.name
    numbers = inspect(path)
    assert [int(text.replace(",", "")) for text in row.groups()] == [numbers.weight_bytes, numbers.file_bytes]


def test_the_page_keeps_the_figures_of_networks_that_are_not_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SAMPLES))
    page = importlib.import_module("records_page")
    text = (RECORDS / "README.md").read_text("utf-8")
    assert page.report([], {}, {}, page.read_page(RECORDS / "README.md")) == text
