"""The stages of Deep Compression: the table has the sizes of files that end at each stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz
from conftest import Run

import wcodec
from wcodec.reporting.stage_tables import tabulate_stages
from wcodec.reporting.stages import Stages, stages_of

ARRAYS = {"conv": weights(1, 3, 3, 8, 40), "dense": weights(2, 400, 90), "bias": weights(3, 90)}


def measure_stages(tmp_path: Path, **words: object) -> dict[str, Stages]:
    source = write_npz(tmp_path / "m.npz", ARRAYS)
    wcodec.encode(source, tmp_path / "m.wcz", **({"preset": "deep-compression", "threshold": "1.5std"} | words))
    return {stages.name: stages for stages in stages_of(tmp_path / "m.wcz")}


def test_the_bytes_of_a_stage_are_those_of_a_file_that_ends_at_it(tmp_path: Path) -> None:
    whole = measure_stages(tmp_path)
    fixed = measure_stages(tmp_path, coder="fixed")
    for name in ("conv", "dense"):
        assert 0 <= fixed[name].coded - whole[name].shared <= 8
        assert fixed[name].shared == whole[name].shared
    alone = measure_stages(tmp_path, quantizer="none", coder="fixed")
    for name in ("conv", "dense"):  # exact float32 values take fewer than 32 bits, since their exponents are similar
        assert alone[name].pruned == alone[name].shared
        assert 0.75 * alone[name].pruned < alone[name].coded < 1.01 * alone[name].pruned


@pytest.mark.parametrize(("coder", "head"), [("huffman", "Huffman"), ("fixed", "coded")])
def test_the_heading_huffman_is_used_only_for_huffman_codes(coder: str, head: str, tmp_path: Path) -> None:
    measure_stages(tmp_path, coder=coder)
    sizes, bits = tabulate_stages(stages_of(tmp_path / "m.wcz"))
    assert (sizes.head[6], bits.head[5], bits.head[8]) == (head, head, head)


def test_the_figures_of_a_tensor_are_consistent(tmp_path: Path) -> None:
    found = measure_stages(tmp_path)
    dense, total = found["dense"], found["total"]
    values = wcodec.open(tmp_path / "m.wcz")["dense"]
    assert dense.kept == np.count_nonzero(values)
    entries = dense.kept + dense.fillers
    gaps = -(-entries * dense.gap_bits // 8)
    assert dense.pruned == 4 * entries + gaps
    assert dense.code_bits == 5
    assert 0 <= dense.shared - -(-entries * 5 // 8) - gaps - 4 * 31 < 20
    assert dense.pruned > dense.shared > dense.coded
    assert dense.gap_coded is not None
    assert dense.code_coded is not None
    assert dense.gap_entropy <= dense.gap_coded < dense.gap_entropy + 0.5
    assert dense.code_entropy <= dense.code_coded < dense.code_entropy + 0.5
    assert found["bias"].pruned == found["bias"].shared == found["bias"].raw
    for stage in ("raw", "kept", "pruned", "shared", "coded"):
        assert getattr(total, stage) == sum(getattr(found[name], stage) for name in ARRAYS)
    assert total.ratio("coded") == total.raw / total.coded
    assert total.coded == wcodec.inspect(tmp_path / "m.wcz").weight_bytes


@pytest.mark.parametrize("words", [{"coder": "context"}, {"coder": "static"}, {"quantizer": "product"}, {"bits": 2}])
def test_every_coder_has_stages(words: dict[str, object], tmp_path: Path) -> None:
    found = measure_stages(tmp_path, preset="balanced", **words)
    assert found["total"].coded == wcodec.inspect(tmp_path / "m.wcz").weight_bytes
    assert found["total"].pruned >= found["total"].shared


def test_encode_with_the_preset_and_inspect_print_the_stages(tmp_path: Path, wcodec: Run) -> None:
    source = write_npz(tmp_path / "m.npz", ARRAYS)
    done = wcodec("encode", source, "--preset", "deep-compression", "--json")
    stages = json.loads(done.stdout)["stages"]
    assert [entry["name"] for entry in stages] == [*ARRAYS, "total"]
    assert set(stages[0]["ratios"]) == {"pruned", "shared", "coded"}
    assert "bytes after each stage" in done.stderr
    assert "pruned without retraining" in done.stderr
    shown = wcodec("inspect", tmp_path / "m.npz.wcz")
    assert "bytes after each stage" in shown.stdout
    assert json.loads(wcodec("inspect", tmp_path / "m.npz.wcz", "--json").stdout)["stages"] == stages
    plain = wcodec("encode", source, "-f", "--stages", "-o", tmp_path / "plain.wcz")
    assert "bytes after each stage" in plain.stderr
    assert "stages" not in json.loads(wcodec("inspect", tmp_path / "plain.wcz", "--json").stdout)
    assert "stages" in json.loads(wcodec("inspect", tmp_path / "plain.wcz", "--json", "--stages").stdout)
