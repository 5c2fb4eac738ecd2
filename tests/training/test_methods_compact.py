"""Units that a method leaves without weights are not in the file, unless they are requested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wcodec.cli import main
from wcodec.evaluation.model_loader import load_model


@pytest.mark.parametrize("method", ["gradual", "gradual,sharing"])
def test_dead_units_after_a_method_are_removed_without_a_change_of_the_outputs(
    method: str, small_network: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, data = small_network
    words = ["encode", str(source), "--data", str(data), "--finetune", "4", "--method", method, "--json"]
    words += ["--sparsity", "0.95", "-T", "1"]
    assert main([*words, "--no-compact", "-o", str(tmp_path / "whole.wcz")]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main([*words, "-o", str(tmp_path / "small.wcz")]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert "died in training and are not in the file" in err
    assert found["file_bytes"] == (tmp_path / "small.wcz").stat().st_size <= whole["file_bytes"]
    small, wide = load_model(tmp_path / "small.wcz"), load_model(tmp_path / "whole.wcz")
    assert small.count_params() < wide.count_params()
    assert abs(found["measured"]["accuracy"] - whole["measured"]["accuracy"]) < 1.0
    with np.load(data) as given:
        answers = [one.predict(given["x"], verbose=0).argmax(axis=1) for one in (small, wide)]
    assert np.mean(answers[0] == answers[1]) > 0.97


def test_a_method_that_codes_by_positions_keeps_dead_units(
    small_network: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, data = small_network
    words = ["encode", str(source), "--data", str(data), "--finetune", "4", "--method", "gradual,quantized"]
    words += ["--sparsity", "0.95", "--bits", "3", "--bucket", "16", "-o", str(tmp_path / "m.wcz")]
    assert main(words) == 0
    assert "died in training" not in capsys.readouterr().err
    assert load_model(tmp_path / "m.wcz").count_params() == load_model(source).count_params()
