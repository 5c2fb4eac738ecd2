"""The examples and the recorded rows of a calibration session."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from keras_kinds import KINDS, prepare_session, some

from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.layerwise import round_all
from wcodec.calibration.quantizable_weights import initial_steps
from wcodec.calibration.session import CalibrationSession
from wcodec.evaluation.examples import MAX_HELD_OUT, MIN_HELD_OUT, Examples, hold_out
from wcodec.evaluation.keras_backend import keep_weights, keras


def sequences(config: CalibrationConfig | None = None) -> CalibrationSession:
    """A network with 20 predictions for each sequence."""
    of = keras().layers
    model = keras().Sequential([of.Input((20, 6)), of.Dense(8, "relu"), of.Dense(5)])
    return prepare_session(model, some(model, 1500), config)


@pytest.mark.parametrize(("predictions", "count"), [(1, 2400 // 5), (8, MAX_HELD_OUT // 8), (500, MIN_HELD_OUT)])
def test_fewer_examples_with_many_predictions_are_held_out(predictions: int, count: int) -> None:
    learning, held_out = hold_out(Examples((np.arange(2400)[:, None],)), predictions)
    assert (held_out.count, learning.count) == (count, 2400 - count)


def test_a_session_of_sequences_needs_fewer_examples() -> None:
    session, plain = sequences(), prepare_session(model := KINDS["dense"][0](keras().layers), some(model, 1500))
    assert (session.predictions, plain.predictions) == (20, 1)
    used = [len(session.fitting[0][0]) * group.recorded.batches for group in session.groups if group.recorded]
    assert max(used) < session.config.min_examples
    with keep_weights(session.model):
        session.groups[0].kernels[0].variable.assign_add(np.full((6, 8), 0.05, np.float32))
        assert session.divergence_of_few() == pytest.approx(session.divergence(), rel=0.2)
        changed = dataclasses.replace(session, predictions=1)
        assert changed.divergence_of_few() == session.divergence()


def test_rows_recorded_in_parts_equal_rows_recorded_at_once() -> None:
    """Half a megabyte holds the rows of one group, four bytes none."""
    found = []
    of = keras().layers
    model = keras().Sequential([of.Input((20, 6)), *[of.Dense(8, "relu") for _ in range(4)], of.Dense(5)])
    examples = some(model, 600)
    for room in (1 << 29, 1 << 19, 4):
        session = prepare_session(model, examples, CalibrationConfig(cache_bytes=room))
        with keep_weights(session.model):
            found.append(round_all(session, initial_steps(session.kernels, 2.0), 0.1))
        assert (len(session.cached_rows) == len(session.groups)) == (room == 1 << 29)
    for one, two, three in zip(*found, strict=True):
        assert np.array_equal(one.values, two.values)
        assert np.array_equal(one.values, three.values)
