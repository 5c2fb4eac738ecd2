"""The view of one tensor: its values, their counts, and their code words."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz
from bitarray import bitarray
from conftest import Run

import wcodec
from wcodec.pipeline.folder_decoder import places_of
from wcodec.reporting.tensor_view import TensorView, view_tensor

ARRAYS = {"layer/conv": weights(1, 3, 3, 8, 40), "layer/dense": weights(2, 120, 90), "bias": weights(3, 90)}


def encode_and_view(tmp_path: Path, name: str = "layer/dense", **words: object) -> TensorView:
    source = write_npz(tmp_path / "m.npz", ARRAYS)
    wcodec.encode(source, tmp_path / "m.wcz", **words)
    return view_tensor(places_of(tmp_path / "m.wcz")[name])


def test_counts_and_values_are_those_of_the_weights(tmp_path: Path) -> None:
    view = encode_and_view(tmp_path, preset="deep-compression")
    found = wcodec.open(tmp_path / "m.wcz")["layer/dense"]
    values, counts = np.unique(found, return_counts=True)
    assert {entry.value: entry.count for entry in view.values if entry.count} == dict(
        zip(values.tolist(), counts.tolist(), strict=True)
    )
    assert view.zeros == np.count_nonzero(found == 0)
    assert sum(view.bins) == np.count_nonzero(found)
    assert (view.rule, view.coders, view.rows) == ("codebook", ("gaps and codes",), (90, 120, 1))


@pytest.mark.parametrize(
    "words", [{"preset": "deep-compression"}, {"bits": 5, "coder": "huffman"}, {"bits": 3, "coder": "fixed"}]
)
def test_code_words_are_a_prefix_code_with_short_words_for_frequent_values(
    words: dict[str, object], tmp_path: Path
) -> None:
    view = encode_and_view(tmp_path, **words)
    coded = [entry for entry in view.values if entry.word]
    assert len(coded) >= 7
    assert all(entry.bits == len(entry.word) for entry in coded)
    words_alone = sorted(entry.word for entry in coded if "x" not in entry.word)
    assert all(not later.startswith(word) for word, later in itertools.pairwise(words_alone))
    by_count = sorted(coded, key=lambda entry: -entry.count)
    assert by_count[0].bits <= by_count[-1].bits


def test_the_stream_of_codes_has_the_words_of_the_surviving_weights(tmp_path: Path) -> None:
    from wcodec.codec.entropy import huffman
    from wcodec.reporting.coded_levels import read_chunks

    view = encode_and_view(tmp_path, preset="deep-compression", threshold="2std", set="layer/dense:bits=4")
    place = places_of(tmp_path / "m.wcz")["layer/dense"]
    with place.path.open("rb") as file:
        (chunk,) = read_chunks(file, place.container.tensors[place.number], place.container.records[place.number])
    assert chunk.codes[0] == 2
    start = 1 + huffman.take_code(chunk.codes[1:], 32)[2]
    stream = bitarray(endian="little")
    stream.frombytes(chunk.codes[start:])
    words = {entry.level: entry.word for entry in view.values}
    expected = "".join(words[level] for level in chunk.levels[chunk.levels != 0][:20].tolist())
    assert stream[: len(expected)].to01() == expected


def test_gaps_have_words_and_fillers_are_counted(tmp_path: Path) -> None:
    view = encode_and_view(tmp_path, preset="deep-compression", coder="fixed", threshold="2std")
    assert view.gap_bits >= 3
    assert view.fillers > 0
    assert {gap.bits for gap in view.gaps} == {view.gap_bits}
    assert sum(gap.count for gap in view.gaps) == view.fillers + np.count_nonzero(
        wcodec.open(tmp_path / "m.wcz")["layer/dense"]
    )


@pytest.mark.parametrize(
    ("words", "name", "rule"),
    [
        ({}, "layer/dense", "step"),
        ({"lossless": True}, "bias", "exact"),
        ({"quantizer": "product"}, "layer/conv", "codebook of vectors"),
        ({"quantizer": "symmetric", "per_channel": True}, "layer/dense", "a step a row"),
        ({"quantizer": "float16"}, "bias", "float32 without low bits"),
    ],
)  # fmt: skip
def test_tensors_of_every_rule_have_a_view(words: dict[str, object], name: str, rule: str, tmp_path: Path) -> None:
    view = encode_and_view(tmp_path, name, **words)
    assert view.rule == rule
    assert sum(view.bins) + view.zeros == ARRAYS[name].size
    json.dumps(view.to_json(), allow_nan=False)


def test_inspect_prints_a_tensor_by_the_end_of_its_name(tmp_path: Path, wcodec: Run) -> None:
    encode_and_view(tmp_path, preset="deep-compression")
    shown = wcodec("inspect", tmp_path / "m.wcz", "--tensor", "dense").stdout
    for word in ("layer/dense: 120x90 float32, ", "rule: codebook", "code word", "gaps: ", "weights that are not 0"):
        assert word in shown
    numbers = json.loads(wcodec("inspect", tmp_path / "m.wcz", "--tensor", "dense", "--json").stdout)
    assert numbers["rule"] == "codebook"
    assert {"level", "value", "count", "word", "bits"} == set(numbers["values"][0])
    encode_and_view(tmp_path)
    shown = wcodec("inspect", tmp_path / "m.wcz", "--tensor", "dense").stdout
    assert re.search(r"^level +(stands for +)?used +share +ideal bits$", shown, re.MULTILINE)
    missing = wcodec("inspect", tmp_path / "m.wcz", "--tensor", "nothing")
    assert missing.returncode == 2
    assert "expected a tensor 'nothing'" in missing.stderr
    assert wcodec("inspect", tmp_path / "m.npz", "--tensor", "dense").returncode == 2
