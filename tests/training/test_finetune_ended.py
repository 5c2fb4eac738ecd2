"""A training that is killed, interrupted or out of time loses nothing and is resumed."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import HANG, Run, command
from tests.small_problem import finetune_files, make_request
from wcodec.errors import ModelFileError
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.examples import Examples
from wcodec.training import checkpoint, finetune
from wcodec.training.epoch import limit_by_time
from wcodec.training.finetune import FinetuneResult, settings_of, train
from wcodec.training.training_loop import TrainingState


def test_a_resumed_training_finds_what_an_uninterrupted_one_finds(
    small_network: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    source, data = small_network
    words = ["encode", source, "--data", data, "--finetune", 3, "--max-drop", 2]
    whole = wcodec(*words, "-o", tmp_path / "whole.wcz")
    assert whole.returncode == 0, whole.stderr
    started = [str(word) for word in (*command(), *words, "-o", tmp_path / "x.wcz")]
    process = subprocess.Popen(started, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 2"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=HANG)
    process.stderr.close()
    assert not (tmp_path / "x.wcz").exists()
    wrong = wcodec(*words[:-1], 3, "-o", tmp_path / "x.wcz", "--resume")
    assert wrong.returncode == 2
    assert "max drop 2" in wrong.stderr
    wrong = wcodec(*words, "-o", tmp_path / "x.wcz", "--resume", "--exclude", "dense")
    assert wrong.returncode == 2
    assert "--resume: expected excluded [] as it began, got ['" in wrong.stderr
    done = wcodec(*words, "-o", tmp_path / "x.wcz", "--resume")
    assert done.returncode == 0, done.stderr
    assert "resumed after epoch" in done.stderr
    assert "epoch 3 of 3" in done.stderr
    assert "epoch 1 of 3" not in done.stderr
    assert (tmp_path / "x.wcz").read_bytes() == (tmp_path / "whole.wcz").read_bytes()
    assert not list(tmp_path.glob(".*training"))


@pytest.fixture(scope="module")
def interrupted(small_network: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    """The result of a training that is interrupted after its second epoch; read only."""

    def interrupt(line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    state = tmp_path_factory.mktemp("interrupted") / "state"
    return train(small_network[0], make_request(small_network[1], state), interrupt)


def test_an_interrupted_training_returns_the_best_networks_so_far(interrupted: FinetuneResult) -> None:
    assert interrupted.candidates
    assert not interrupted.finished
    assert interrupted.opened.request.state is not None
    assert interrupted.opened.request.state.exists()


def test_a_time_limit_ends_the_training_with_the_best_so_far(
    small_network: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    source, data = small_network
    words = ["encode", source, "--data", data, "-o", tmp_path / "x.wcz", "--finetune", 100_000, "--max-drop", 2]
    done = wcodec(*words, "--time-limit", "2s")
    assert done.returncode == 0, done.stderr
    assert "epoch 100000" not in done.stderr
    loaded = evaluate(tmp_path / "x.wcz", str(data), source)
    assert loaded.accuracy_drop is not None
    assert loaded.accuracy_drop < 3


def test_without_time_for_an_epoch_the_result_is_the_rounded_network(
    small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    found, lines = finetune_files(*small_network, tmp_path, seconds=1e-9)
    assert found.candidates
    assert not found.finished
    assert [line for line in lines if line.startswith("rounded without labels")]
    assert not [line for line in lines if line.startswith("epoch")]


def test_training_starts_from_plainly_rounded_weights_if_there_is_no_time_for_the_search(
    small_network: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "ROUNDING", 1e-12)
    found, lines = finetune_files(*small_network, tmp_path, epochs=4, seconds=600.0)
    assert found.finished
    assert len([line for line in lines if line.startswith("epoch")]) == 4
    begun = next(line for line in lines if line.startswith("rounded without labels"))
    assert found.candidates[0].bytes < int(begun.split("best ")[1].split()[0].replace(",", ""))


def test_the_time_limit_bounds_the_number_of_examples() -> None:
    examples, lines = Examples((np.arange(20_000.0),)), list[str]()
    assert limit_by_time(examples, 1e-3, float("inf"), lines.append) is examples
    assert lines == []
    now = time.monotonic()
    assert 1_900 <= limit_by_time(examples, 1e-3, now + 10, lines.append).count <= 2_000
    assert limit_by_time(examples, 1e-3, now - 10, lines.append).count == 1_000
    assert lines[1] == "trained on 1,000 of 20,000 examples, for more do not fit into the time limit"


def test_a_damaged_checkpoint_is_one_clear_error(
    small_network: tuple[Path, Path], interrupted: FinetuneResult, tmp_path: Path
) -> None:
    request, state = interrupted.opened.request, tmp_path / "state"
    assert request.state is not None
    whole, facts = request.state.read_bytes(), settings_of(small_network[0], request)
    state.write_bytes(whole)
    assert checkpoint.read(state, facts, TrainingState) is not None
    for part in (whole[:100], whole[: len(whole) // 2], b"", b"PK\x03\x04" + whole[40:]):
        state.write_bytes(part)
        with pytest.raises(ModelFileError, match="expected the state of a training"):
            checkpoint.read(state, facts, TrainingState)
