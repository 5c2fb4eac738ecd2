"""Time limits of a search: shares, and the cause of an overrun."""

from __future__ import annotations

import pytest
from keras_kinds import KINDS, prepare_session, some

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.step_search import search_steps
from wcodec.calibration.time_limit import NO_DEADLINE, Deadline, Stopwatch
from wcodec.errors import BudgetError
from wcodec.evaluation.keras_backend import keras

STEPS = [("loading and the first rounding", 108.0), ("rounding", 128.0), ("training", 139.0), ("the coding", 145.0)]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (45.0, None),
        (44.5, None),
        (40.0, "--time-limit: 40 s were overrun by 5 s: the coding 5 s"),
        (20.0, "--time-limit: 20 s were overrun by 25 s: rounding 8 s, training 11 s, the coding 6 s"),
        (0.0, "--time-limit: 0 s were overrun by 45 s: loading and the first rounding 8 s, rounding 20 s, "),
    ],
)
def test_an_overrun_time_limit_is_reported_with_its_cause(limit: float, message: str | None) -> None:
    found = Stopwatch(100.0, STEPS).overrun(limit)
    assert found is message is None or (found is not None and message is not None and found.startswith(message))


def test_tasks_share_the_remaining_time_and_each_has_at_least_one_item() -> None:
    assert list(NO_DEADLINE.within(range(5))) == [0, 1, 2, 3, 4]
    assert all(not turn.is_over() for turn in NO_DEADLINE.turns(3))
    assert list(Deadline.after(0.0).within(range(5))) == [0]
    first, second = Deadline.after(1000.0).turns(2)
    assert 499 < first.seconds_left() < 501
    assert 999 < second.seconds_left() <= 1000


def test_a_search_without_time_has_no_trial_if_there_is_another_file() -> None:
    keras().utils.set_random_seed(1)
    build, _ = KINDS["dense"]
    model = build(keras().layers)
    session, before = prepare_session(model, some(model, 60)), model.get_weights()
    tried: list[object] = []
    with pytest.raises(BudgetError):
        search_steps(session, AccuracyBudget(kl=10.0), seconds=0.0, progress=tried.append, required=False)
    assert not tried
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))
    search_steps(session, AccuracyBudget(kl=10.0), seconds=0.0, progress=tried.append)
    assert len(tried) == 1
