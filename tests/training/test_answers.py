"""Outputs of the original network, each of which serves several steps of training."""

from __future__ import annotations

from itertools import count
from typing import cast

import numpy as np
import pytest

from wcodec.evaluation.examples import Array
from wcodec.training.answers import FEWEST, KEPT, USES, Ask, draw_answered
from wcodec.training.engine import Batch


def draw_numbers(width: int) -> tuple[list[Batch], list[int]]:
    """The batches of 64 examples for training, and the numbers of the batches that the original computed."""
    inputs, computed = (np.full((64, width), number, np.float32) for number in count()), []

    def compute_outputs(given: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        computed.append(int(given[0][0, 0]))
        return given, (given[0][:, 0] + 0.5,)

    batches = draw_answered(((one,) for one in inputs), cast(Ask, compute_outputs), np.random.default_rng(0))
    return [next(batches) for _ in range(USES * KEPT + 1)], computed


def test_one_answer_of_the_original_serves_several_steps() -> None:
    found, computed = draw_numbers(2)
    assert computed == list(range(2 * KEPT))
    for batch in found:
        assert np.array_equal(batch.outputs[0], batch.inputs[0][:, 0] + 0.5)
    for use in range(USES):
        numbers = np.concatenate([batch.inputs[0][:, 0] for batch in found[use * KEPT : (use + 1) * KEPT]])
        assert np.array_equal(np.bincount(numbers.astype(int)), np.full(KEPT, 64))
        assert len(np.unique(found[use * KEPT].inputs[0][:, 0])) > KEPT // 2
    assert found[-1].inputs[0].min() >= KEPT


def test_inputs_too_large_to_keep_are_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wcodec.training.answers.MOST_BYTES", 4 * 64 * 3 * FEWEST - 1)
    found, computed = draw_numbers(2)
    assert computed == list(range(USES * KEPT + 1))
    assert [float(batch.inputs[0].max()) for batch in found] == [float(number) for number in computed]
