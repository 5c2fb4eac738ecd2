"""Progress shows size and loss; Ctrl-C ends a search with the best file that it has found."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG, command
from small_problem import make_examples

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.codebook_search import CodebookResult
from wcodec.calibration.progress import Interruptible, SamplingNote, SearchProgress, describe_excess
from wcodec.calibration.quality import Quality
from wcodec.cli.progress import show_search


def test_progress_without_a_terminal_is_printed_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with show_search(quiet=False) as watch:
        watch(SearchProgress("rounding", None, 12_345, 0.01, True))
        for done in (0.1, 0.2, 0.3):
            watch(SearchProgress("training", done, 12_000, 0.02, False, limit="max-drop"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "rounding: about 12,345 bytes, 0.0100 nats, 0.42 points predicted"
    assert (
        lines[1]
        == "training 10 %: about 12,000 bytes, 0.0200 nats, 0.84 points predicted, not in the budget (max-drop)"
    )
    assert len(lines) == 2
    with show_search(quiet=True) as watch:
        watch(SearchProgress("rounding", None, 12_345, 0.01, True))
    assert not capsys.readouterr().err


def test_progress_has_the_reason_for_a_drop_below_the_bound_that_is_not_in_the_budget(
    capsys: pytest.CaptureFixture[str],
) -> None:
    budget = AccuracyBudget(drop=0.5)
    aim = budget.of_outputs()

    def print_progress(quality: Quality) -> str:
        with show_search(quiet=False) as watch:
            watch(SearchProgress.of(CodebookResult(1.0, {}, quality, 1000), "rounding", None, 1000, aim, budget))
        return capsys.readouterr().err.partition("nats, ")[2].strip()

    assert print_progress(Quality(0.009)) == "0.38 points predicted"
    assert print_progress(Quality(0.009, chance=0.2)) == (
        "0.38 points predicted, up to 0.58 with sampling error, not in the budget (max-drop)"
    )
    assert (
        print_progress(Quality(0.0105))
        == "0.44 points predicted, not in the budget (max-drop: the search allows 0.42, to be safe)"
    )
    assert print_progress(Quality(0.009, lost=0.6)) == (
        "0.38 points predicted, not in the budget (max-drop: 0.60 points lost by the labels)"
    )
    assert print_progress(Quality(0.02)) == "0.84 points predicted, not in the budget (max-drop)"


def test_a_drop_above_the_bound_within_the_standard_error_is_described() -> None:
    """The drop by labels counts less its standard error, so a file can lose more than its budget."""
    assert describe_excess(0.5, 0.5, 1000) == describe_excess(None, 0.5, 1000) == describe_excess(0.9, None, 1000) == ""
    assert describe_excess(0.9, 0.5, 1000).startswith(
        "by the labels 0.90 points are lost, more than the 0.5 of the budget, but not by more than their standard "
        "error: 1,000 examples are too few to tell."
    )


def test_the_note_on_few_held_out_examples_appears_once_and_only_with_a_bound_on_the_drop() -> None:
    lines: list[str] = []
    for budget in (AccuracyBudget(drop=0.5), AccuracyBudget(kl=0.1)):
        note = SamplingNote(lines.append, 1200, budget)
        for quality in (None, Quality(0.009, chance=0.01), Quality(0.01, chance=0.21), Quality(0.01, chance=0.42)):
            note.tell(quality)
    assert lines == [
        "1,200 held-out examples are few: sampling error may add about 50 % to a predicted drop, "
        "which counts against the budget"
    ]


def test_interruptible_catches_interrupts_and_no_other_exceptions() -> None:
    interruptible = Interruptible()
    with interruptible:
        assert not interruptible.over
    assert not interruptible.over
    with interruptible:
        raise KeyboardInterrupt
    assert interruptible.over
    with pytest.raises(ValueError, match="else"), Interruptible():
        raise ValueError("else")


def test_ctrl_c_writes_the_best_file_and_reports_it(small_network: tuple[Path, Path], tmp_path: Path) -> None:
    """In a pseudoterminal: the table appears, and an interrupt of the training writes a file within the budget."""
    master, slave = pty.openpty()
    target = tmp_path / "m.wcz"
    np.savez(tmp_path / "inputs.npz", x=make_examples(2600)["x"])
    words = [
        "encode",
        str(small_network[0]),
        "-o",
        str(target),
        "--data",
        str(tmp_path / "inputs.npz"),
        "--tune",
        "8000",
    ]
    program = [*command(), *words]
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(program, stderr=slave, stdout=slave, env=environment, start_new_session=True) as running:
        os.close(slave)
        output, sent = b"", False
        until = time.monotonic() + HANG
        while time.monotonic() < until and (running.poll() is None or select.select([master], [], [], 0)[0]):
            if select.select([master], [], [], 0.2)[0]:
                try:
                    output += os.read(master, 65536)
                except OSError:
                    break
            if not sent and b"training" in output:
                running.send_signal(signal.SIGINT)
                sent = True
        code = running.wait(timeout=HANG)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode(errors="replace"))
    assert code == 0, text
    assert "best so far: about" in text
    assert "interrupted: this is the best that was found until then" in text
    assert target.stat().st_size < 1_500
