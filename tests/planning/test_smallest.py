"""The smaller of two encodings is used: --best is never larger than --fast, nor auto than one of its coders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz

import wcodec
from wcodec.planning.recipe import EFFORTS, PRESETS, QUANTIZERS

ARRAYS = {
    "conv": weights(1, 3, 3, 6, 20),
    "dense": weights(2, 60, 40) * (np.arange(40) % 5 > 0),
    "large": weights(3, 150, 140),
    "bias": weights(4, 140),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(
        tmp_path_factory.mktemp("smallest") / "m.npz", {k: v.astype(np.float32) for k, v in ARRAYS.items()}
    )


def size(source: Path, **words: object) -> int:
    return wcodec.encode(source, source.with_suffix(".wcz"), threads=1, **words).file_bytes


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_best_effort_is_not_larger_than_a_faster_one(preset: str, quantizer: str, source: Path) -> None:
    sizes = {effort: size(source, preset=preset, quantizer=quantizer, effort=effort) for effort in EFFORTS}
    assert sizes["best"] <= min(sizes["normal"], sizes["fast"]), sizes


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_the_default_coder_is_not_larger_than_contexts_or_huffman_codes(quantizer: str, source: Path) -> None:
    words: dict[str, object] = {"quantizer": quantizer}
    if quantizer in {"auto", "uniform", "product"}:  # their values depend on the coder
        words["bits"] = 3
    sizes = {coder: size(source, coder=coder, **words) for coder in ("auto", "huffman", "context")}
    assert sizes["auto"] <= min(sizes.values()), sizes


def test_the_best_lossless_file_is_not_larger_than_the_fast_one(source: Path) -> None:
    sizes = [size(source, lossless=True, effort=effort) for effort in ("best", "normal", "fast")]
    assert sizes[0] == min(sizes)
