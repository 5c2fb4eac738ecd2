"""The example of a calibrated ONNX model; collected where onnxruntime is installed."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "samples" / "examples"


def test_an_onnx_model_is_calibrated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    example = EXAMPLES / "onnx_calibrated.py"
    monkeypatch.setattr(sys, "argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    source, plain, calibrated = (int(one.replace(",", "")) for one in re.findall(r"[\d,]{4,}", printed)[:3])
    assert calibrated < 0.5 * plain < source
    before, after = (float(one) for one in re.findall(r"[\d.]+(?= %)", printed))
    assert after > before - 1.5
