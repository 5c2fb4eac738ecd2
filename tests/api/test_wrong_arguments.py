"""Wrong arguments of the Python interface cause one line with the name of the argument, before a file is written."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import wcodec
from wcodec.errors import CorruptError, RecipeError

WEIGHTS = {"w": np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)}


def closed() -> io.BytesIO:
    """A binary file that is closed."""
    file = io.BytesIO()
    file.close()
    return file


@pytest.mark.parametrize(
    ("word", "call"),
    [
        ("progress", lambda: wcodec.encode(WEIGHTS, progress=5)),
        ("progress", lambda: wcodec.encode(WEIGHTS, progress="yes")),
        ("executor", lambda: wcodec.encode(WEIGHTS, executor=5)),
        ("report", lambda: wcodec.encode(WEIGHTS, report=5)),
        ("config", lambda: wcodec.encode(WEIGHTS, config=5)),
        ("threads", lambda: wcodec.encode(WEIGHTS, threads="a")),
        ("target", lambda: wcodec.encode(WEIGHTS, 5)),
        ("target", lambda: wcodec.encode(WEIGHTS, closed())),
        ("source", lambda: wcodec.encode(closed())),
        ("source", lambda: wcodec.inspect(closed())),
        ("source", lambda: wcodec.decode(closed())),
        ("source", lambda: wcodec.open(closed())),
        ("source", lambda: wcodec.open(5)),
        ("target", lambda: wcodec.decode(wcodec.encode(WEIGHTS), 5)),
        ("threads", lambda: wcodec.decode(wcodec.encode(WEIGHTS), threads="a")),
        ("threads", lambda: wcodec.verify(wcodec.encode(WEIGHTS), threads=-1)),
        ("base", lambda: wcodec.verify(wcodec.encode(WEIGHTS), base=5)),
        ("source", lambda: wcodec.encode("", lossless=True)),
        ("source", lambda: wcodec.decode("")),
        ("source", lambda: wcodec.load_model("")),
        ("source", lambda: wcodec.slim("", width=0.5)),
        ("target", lambda: wcodec.encode(WEIGHTS, "")),
        ("target", lambda: wcodec.decode(wcodec.encode(WEIGHTS), "")),
        ("target", lambda: wcodec.slim("m.h5", "", width=0.5)),
        ("report", lambda: wcodec.sweep(WEIGHTS, report="")),
        ("base", lambda: wcodec.encode(WEIGHTS, base="")),
        ("data", lambda: wcodec.encode(WEIGHTS, data="")),
        ("baseline", lambda: wcodec.evaluate("m.h5", (), "")),
    ],
)
def test_the_error_of_a_wrong_argument_has_its_name(word: str, call: Callable[[], object]) -> None:
    with pytest.raises(RecipeError, match=rf"\A{word}: expected [^\n]+\Z"):
        call()


def test_a_file_that_is_open_for_writing_only_is_refused_as_source(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, pytest.raises(RecipeError, match="source: expected a binary file"):
        wcodec.encode(file)


def test_an_empty_wcz_is_corrupt_as_a_path_and_as_bytes(tmp_path: Path) -> None:
    empty = tmp_path / "empty.wcz"
    empty.touch()
    for source in (empty, b"", io.BytesIO()):
        for verb in (wcodec.verify, wcodec.inspect, wcodec.decode, wcodec.open):
            with pytest.raises(CorruptError, match=r"expected a \.wcz"):
                verb(source)


@pytest.mark.parametrize("threshold", [1e39, 1e300, "1e300", "1e300std"])
def test_a_threshold_above_all_weights_prunes_all_without_a_warning(threshold: float | str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        packed = wcodec.encode(WEIGHTS, threshold=threshold)
    with wcodec.open(packed) as weights:
        assert not np.asarray(weights["w"]).any()
