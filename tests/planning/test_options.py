"""The table of options: the command line, Python and the recipe have the same words."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz

import wcodec
from wcodec.api.words import Words
from wcodec.cli.parser import build_parser
from wcodec.errors import RecipeError
from wcodec.planning.options import OPTIONS, parse_rule
from wcodec.planning.parsing import parse_recipe
from wcodec.planning.recipe import Options, Recipe, StepSize


def test_every_field_of_a_recipe_has_an_option_and_a_keyword_in_python() -> None:
    names = {field.name for field in (*fields(Options), *fields(Recipe))} - {"options", "mean_bits"}
    assert {option.target for option in OPTIONS} == names  # the option bits sets mean_bits too
    assert {option.word for option in OPTIONS} == set(Words.__annotations__)


def test_the_command_line_has_every_option_with_its_help() -> None:
    args = vars(build_parser().parse_args(["encode", "m.h5"]))
    assert all(args[option.word] is None for option in OPTIONS)
    assert all(option.help or all(text for _, _, text in option.switches) for option in OPTIONS)


def test_an_option_of_the_whole_file_is_refused_in_a_rule() -> None:
    with pytest.raises(RecipeError, match="option 'preset': expected one of aligned, bits, block"):
        parse_rule("a:preset=small")


@pytest.mark.parametrize(("text", "step"), [("0.5", StepSize(0.5)), ("2.5x", StepSize(2.5, relative=True))])
def test_a_step_is_absolute_or_a_multiple_of_that_of_the_preset(text: str, step: StepSize) -> None:
    assert parse_recipe({"step": text}).options.step == step


@pytest.mark.parametrize("words", [{"bits": 1}, {"clusters": 2}], ids=str)
def test_one_bit_gives_0_and_another_value_or_is_refused(words: dict[str, int], tmp_path: Path) -> None:
    weights = np.random.default_rng(5).normal(size=(60, 50)).astype(np.float32)
    wcodec.encode({"w": weights}, tmp_path / "m.wcz", **words)
    values, counts = np.unique(wcodec.load(tmp_path / "m.wcz")["w"], return_counts=True)
    assert len(values) == 2
    assert 0.0 in values
    assert counts.min() > 600
    for quantizer in ("uniform", "symmetric", "asymmetric"):
        with pytest.raises(RecipeError, match=f"quantizer {quantizer}: expected 2 bits or"):
            wcodec.encode({"w": weights}, quantizer=quantizer, **words)


@pytest.mark.parametrize("bits", [2, 3, 5])
@pytest.mark.parametrize("quantizer", ["kmeans", "uniform", "symmetric", "asymmetric"])
def test_bits_limit_the_number_of_values_including_0(bits: int, quantizer: str, tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", {"w": weights(1, 80, 60)})
    for sparsity in (0.0, 0.3):
        wcodec.encode(source, tmp_path / "m.wcz", bits=bits, quantizer=quantizer, sparsity=sparsity)
        values = np.unique(wcodec.open(tmp_path / "m.wcz")["w"])
        assert len(values) <= 2**bits - (0.0 not in values)
