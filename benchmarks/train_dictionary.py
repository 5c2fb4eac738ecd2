"""Trains `wcodec/container/skeleton-1.dict` on the skeletons of Keras models, and says what it saves.

    PYTHONPATH=. python benchmarks/train_dictionary.py [--kinds-held-out unet,recurrent] [--model X.h5 ...] [--write]

A dictionary is for ever: once a release has used it, its bytes must not change; train a `skeleton-2.dict` instead.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import dictionary_zoo
import keras
import zstandard

from wcodec.container.wire import put_varint
from wcodec.model import DTYPE_IDS, TensorSpec
from wcodec.modelfiles import open_model

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "wcodec" / "container" / "skeleton-1.dict"
TRAINED_BYTES, WHOLE_BYTES = 40_000, 60_000
"""Fragments chosen by zstd, and before the end whole samples, the commonest last."""
BERT = ("attention.output.LayerNorm", "attention.output.dense", "attention.self.key", "attention.self.query",
        "attention.self.value", "intermediate.dense", "output.LayerNorm", "output.dense")  # fmt: skip
LLAMA = ("input_layernorm", "mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "post_attention_layernorm",
         "self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj")  # fmt: skip
RESNET = ("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked",
          "conv2.weight", "bn2.weight", "downsample.0.weight")  # fmt: skip
PER_KIND = 8


def section(tensors: Sequence[TensorSpec], skeleton: bytes) -> bytes:
    """Table and skeleton as the container compresses them."""
    out = bytearray()
    put_varint(out, len(tensors))
    for tensor in tensors:
        name = tensor.name.encode()
        put_varint(out, len(name))
        out += name
        out.append(DTYPE_IDS[tensor.dtype])
        put_varint(out, len(tensor.shape))
        for extent in tensor.shape:
            put_varint(out, extent)
    return bytes(out) + skeleton


def section_of(path: Path) -> bytes:
    """The section of a model file."""
    with open_model(path) as model:
        return section(model.tensors, model.skeleton)


def samples(build: Callable[[random.Random], keras.Model], count: int, folder: Path) -> Iterator[tuple[str, bytes]]:
    """(format, section) of `count` models of a kind in each of Keras' formats."""
    for seed in range(count):
        keras.utils.clear_session()
        if seed % 2:
            # Names that Keras numbers: not every model is the first of its process.
            keras.Sequential([keras.layers.Dense(1), keras.layers.Conv2D(1, 1), keras.layers.Flatten()])
        model = build(random.Random(f"{build.__name__}{seed}"))
        for ending in (".weights.h5", ".h5", ".keras"):
            path = folder / f"m{ending}"
            if ending == ".weights.h5":
                model.save_weights(path)
            else:
                model.save(path)
            yield ending, section_of(path)


def foreign() -> Iterator[bytes]:
    """Tables as other libraries name their tensors."""
    for blocks in (2, 6, 12):
        bert = [
            f"encoder.layer.{i}.{part}.{kind}" for i in range(blocks) for part in BERT for kind in ("bias", "weight")
        ]
        llama = [f"model.layers.{i}.{part}.weight" for i in range(blocks) for part in LLAMA]
        resnet = [f"layer{1 + i % 4}.{i // 4}.{part}" for i in range(blocks) for part in RESNET]
        for names in (bert, llama, resnet):
            facts = [TensorSpec(name, "float32", (384, 384)[: 1 + ("eight" in name)]) for name in names]
            yield section(facts, b'\0\0{"format":"pt"}')


def count_compressed(plain: bytes, dictionary: zstandard.ZstdCompressionDict | None) -> int:
    """Bytes of a section in the container."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, source_size=len(plain), dict_size=len(dictionary) if dictionary else 0,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=0, write_checksum=0, write_dict_id=0,
    )  # fmt: skip
    return len(zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(plain))


def trained(known: dict[str, list[tuple[str, bytes]]]) -> zstandard.ZstdCompressionDict:
    """The dictionary: fragments, then whole samples that the dictionary so far tells worst, rare kinds first."""
    every = [plain for kind in known.values() for _, plain in kind] + list(foreign())
    base = zstandard.train_dictionary(TRAINED_BYTES, every, dict_id=1, level=19, k=1024, d=8).as_bytes()
    tail: list[bytes] = []
    size = 0
    for kind in reversed(known.values()):
        for ending in (".keras", ".h5"):
            sofar = zstandard.ZstdCompressionDict(base + b"".join(reversed(tail)))
            worst = max(
                (plain for each, plain in kind if each == ending), key=lambda plain: count_compressed(plain, sofar)
            )
            if size + len(worst) <= WHOLE_BYTES:
                tail.append(worst)
                size += len(worst)
    return zstandard.ZstdCompressionDict(base + b"".join(reversed(tail)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kinds-held-out", default="unet,recurrent,mobile")
    arguments.add_argument("--model", type=Path, action="append", default=[], help="a model file to measure")
    arguments.add_argument("--write", action="store_true", help=f"train on all kinds and write {TARGET.name}")
    chosen = arguments.parse_args()
    held_out = set(chosen.kinds_held_out.split(","))
    with tempfile.TemporaryDirectory() as folder:
        zoo = {kind.__name__: list(samples(kind, PER_KIND, Path(folder))) for kind in dictionary_zoo.KINDS}
    models = [(path.name, section_of(path)) for path in chosen.model]
    part = trained({name: kind for name, kind in zoo.items() if name not in held_out})
    whole = trained(zoo)
    print(f"{'':32} {'plain':>8} {'zstd -19':>8} {'+ dict':>8}   {len(part.as_bytes())} bytes of dictionary")
    for name in sorted(held_out):
        for ending in (".weights.h5", ".h5", ".keras"):
            plains = [plain for each, plain in zoo[name] if each == ending]
            sums = [sum(map(len, plains)), *(sum(count_compressed(p, d) for p in plains) for d in (None, part))]
            print(f"{name + ' ' + ending:32} " + " ".join(f"{total / len(plains):8.0f}" for total in sums))
    for name, plain in models:
        sizes = [len(plain), *(count_compressed(plain, dictionary) for dictionary in (None, part, whole))]
        print(f"{name:32} {sizes[0]:8} {sizes[1]:8} {sizes[2]:8}   trained on all kinds: {sizes[3]}")
    if chosen.write:
        TARGET.write_bytes(whole.as_bytes())
        print(f"wrote {TARGET.relative_to(ROOT)}, {len(whole.as_bytes())} bytes")


if __name__ == "__main__":
    main()
