"""Each option of every pair changes the file of a small model, is refused, or is documented as without effect."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from conftest import THOROUGH

from wcodec.errors import RecipeError, WcodecError
from wcodec.pipeline.encoder import encode
from wcodec.planning.idle_options import WITHOUT_EFFECT, refuse_idle_of_method
from wcodec.planning.options import OPTIONS
from wcodec.planning.parsing import parse_recipe

VALUES: dict[str, tuple[object, ...]] = {
    "lossless": (True,),
    "preset": ("small", "deep-compression"),
    "sparsity": ("0.6",),
    "threshold": ("0.4",),
    "bits": (3,),
    "clusters": (5,),
    "block": (3,),
    "global_sparsity": (True,),
    "step": ("0.3", "0.05"),
    "start": ("kmeans++",),
    "quantizer": ("kmeans", "product", "symmetric", "binary", "float16", "none"),
    "per_channel": (True,),
    "aligned": (True,),
    "max_error": ("0.05", "1e-6"),
    "target_size": ("1100", "400"),
    "target_ratio": ("6", "30"),
    "set": ("a/kernel:bits=2", "a/bias:lossless"),
    "include": ("a/|b/",),
    "exclude": ("b/kernel",),
    "effort": ("fast",),
    "coder": ("huffman", "static"),
    "keep_optimizer": (True,),
    "seed": (7,),
}
NEEDS: dict[str, dict[str, object]] = {
    "block": {"quantizer": "product"},
    "per_channel": {"quantizer": "symmetric"},
    "aligned": {"quantizer": "product"},
    "start": {"bits": 3},
    "global_sparsity": {"sparsity": "0.6"},
}
"""Options that an option needs: without them it is refused."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory):
    """A function of options that returns the bytes of a small .wcz, or the error of options that are refused."""
    folder = tmp_path_factory.mktemp("pairs")
    numbers = np.random.default_rng(0)
    arrays = {"a/kernel": numbers.laplace(size=(24, 16)), "b/kernel": 0.1 * numbers.normal(size=(16, 20))}
    arrays |= {"c/kernel": numbers.normal(size=(20, 10)), "a/bias": numbers.normal(size=16)}
    np.savez(folder / "m.npz", **{name: values.astype(np.float32) for name, values in arrays.items()})
    results: dict[str, bytes | str] = {}

    def encode_once(words: dict[str, object]) -> bytes | str:
        key = repr(sorted(words.items()))
        if key not in results:
            try:
                encode(folder / "m.npz", folder / "m.wcz", parse_recipe(words), threads=1)
                results[key] = (folder / "m.wcz").read_bytes()
            except WcodecError as error:
                results[key] = str(error)
        return results[key]

    return encode_once


def test_every_option_has_values_here() -> None:
    assert set(VALUES) == {option.word for option in OPTIONS}


def find_idle_values(files, word: str, other: str) -> list[object]:
    """Return the values of `other` with which no value of `word` changes the file."""
    needed = NEEDS.get(word, {}) | NEEDS.get(other, {})
    idle = []
    for value in VALUES[other]:
        beside = needed | {other: value}
        before = files(beside)
        if isinstance(before, bytes) and all(files(beside | {word: mine}) == before for mine in VALUES[word]):
            idle.append(value)
    return idle


@pytest.mark.parametrize("word", VALUES)
def test_an_option_has_an_effect_with_any_other_or_is_refused(files, word: str) -> None:
    for number, other in enumerate(VALUES):
        if not THOROUGH and (number + list(VALUES).index(word)) % 3:
            continue  # a third of the pairs in a quick run
        documented = {(word, other), (word, "")} & WITHOUT_EFFECT.keys()
        if other != word and other not in NEEDS.get(word, {}) and word not in NEEDS.get(other, {}) and not documented:
            assert not find_idle_values(files, word, other), (word, other)


def test_the_error_of_a_refused_pair_names_an_option(files) -> None:
    for word, other in list(combinations(VALUES, 2))[:: 1 if THOROUGH else 3]:
        result = files({word: VALUES[word][0], other: VALUES[other][0]})
        if isinstance(result, str):
            assert any(name.split("_")[-1] in result for name in (word, other, "bytes", *NEEDS)), (word, other, result)


@pytest.mark.parametrize(
    ("words", "method", "message"),
    [
        ({"quantizer": "asymmetric"}, "sharing", "--method sharing: expected the quantizer kmeans"),
        ({"quantizer": "product"}, "gradual,points", "--method points: expected the quantizer kmeans"),
        ({"step": "0.1"}, "quantized", "expected no step with it"),
        ({"bits": 3, "start": "density"}, "sharing", "expected no start with it"),
        ({"bits": 3}, "binary", "expected no bits"),
        ({"clusters": 3}, "quantized", "got clusters"),
        ({"sparsity": "0.9"}, "sharing", "expected gradual or magnitude among the methods with sparsity"),
        ({"threshold": "1std"}, "binary", "among the methods with threshold"),
    ],
)
def test_methods_refuse_options_without_effect(words: dict[str, object], method: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        refuse_idle_of_method(parse_recipe(words).options, method.split(","))


def test_methods_accept_the_quantizers_that_they_train_and_pruning_accepts_any() -> None:
    for words, method in (
        ({"quantizer": "kmeans", "bits": 3}, "magnitude,sharing"),
        ({"quantizer": "asymmetric"}, "gradual"),
        ({"quantizer": "asymmetric", "per_channel": True}, "quantized"),
    ):
        refuse_idle_of_method(parse_recipe(words).options, method.split(","))
