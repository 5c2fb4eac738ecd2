"""The samples have the figures of their README."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.model_loader import load_model

SAMPLES = ROOT / "samples"
README = (SAMPLES / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "parameters", "accuracy"),
    [("lenet300.h5", 266_610, 99.09), ("lenet5.keras", 431_080, 99.44), ("tutorial_cnn.h5", 20_410, 98.17)],
)
def test_a_sample_has_the_size_and_accuracy_of_the_readme(file: str, parameters: int, accuracy: float) -> None:
    model = load_model(SAMPLES / file)
    assert model.count_params() == parameters
    measured = evaluate(model, f"{SAMPLES / 'mnist.npz'}:test")
    assert measured.examples == 10_000
    assert measured.accuracy == pytest.approx(accuracy, abs=0.015)
    row = next(line for line in README.splitlines() if line.startswith(f"| `{file}`"))
    for fact in (f"{parameters:,}", f"{4 * parameters:,}", f"{(SAMPLES / file).stat().st_size:,}", f"{accuracy} %"):
        assert f"| {fact} |" in row


@pytest.mark.parametrize("path", sorted(SAMPLES.iterdir()), ids=lambda path: path.name)
def test_no_sample_is_larger_than_12_million_bytes(path: Path) -> None:
    assert path.stat().st_size < 12_000_000
    assert path.is_dir() or path.suffix in (".md", ".py") or f"`{path.name}`" in README
