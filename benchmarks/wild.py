"""Keras networks that packages ship, after compression: wcodec beside what people use instead.

    python benchmarks/wild.py [--alleles 12] [--only NAME ...] [--out page.md]

hed (14.7 M weights): edges of photographs of scikit-image and scikit-learn. fer (58 k): emotions of crops of the same
photographs, without labels. spliceai (0.7 M): splice sites of random sequences, one-hot, as no genome is shipped.
mhcnuggets (LSTM networks of 26 k): peptides of the package's own labelled table, on which they were trained.
Every coder's network answers the same inputs. A file of float16 or int8 weights is counted with gzip -9 as well.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tflite_sizes
import wild_networks as networks
import zstandard
from page import publish
from wild_networks import Case

import wcodec

WCODEC = ({"max_error": 1e-5}, {"preset": "safe"}, {}, {"preset": "small"}, {"preset": "small", "effort": "best"})
LIMIT = 2000
"""Inputs that calibration gets."""
HEAD = (
    "| coder | file bytes | of the original | error of the outputs | agreement | {measure} | CPU s, encode | decode |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True)
class Row:
    """One coder's result. outputs: what its network answers; nbytes: of the file; seconds: CPU, in and out."""

    coder: str
    nbytes: int
    outputs: np.ndarray
    encode: float
    decode: float


def code_by_wcodec(case: Case, words: dict[str, object], folder: Path) -> Row:
    """A file of wcodec, decoded and loaded."""
    target, back = folder / "m.wcz", folder / f"m{case.path.suffix}"
    begin = time.process_time()
    wcodec.encode(case.path, target, **words)
    middle = time.process_time()
    wcodec.decode(target, back)
    end = time.process_time()
    name = " ".join(f"{key}={value}" for key, value in words.items() if key != "data") or "default"
    size = target.stat().st_size
    return Row(f"wcodec, {name}", size, case.answers(back), middle - begin, end - middle)


def code_by_general_tools(case: Case) -> Iterator[Row]:
    """gzip and zstd, which lose nothing."""
    raw, truth = case.path.read_bytes(), case.answers(case.path)
    for name, pack, unpack in (
        ("gzip -9", lambda: gzip.compress(raw, 9), gzip.decompress),
        ("zstd -19", lambda: zstandard.ZstdCompressor(level=19).compress(raw), zstandard.decompress),
    ):
        begin = time.process_time()
        packed = pack()
        middle = time.process_time()
        unpack(packed)
        yield Row(name, len(packed), truth, middle - begin, time.process_time() - middle)


def code_as_float16(case: Case) -> Iterator[Row]:
    """Every weight rounded to float16."""
    model = case.load(case.path)
    halves = [weight.astype(np.float16) for weight in model.get_weights()]
    model.set_weights([half.astype(np.float32) for half in halves])
    raw = b"".join(half.tobytes() for half in halves)
    outputs = case.predict(model)
    yield Row("float16", len(raw), outputs, 0, 0)
    yield Row("float16, gzip -9", len(gzip.compress(raw, 9)), outputs, 0, 0)


def code_by_keras(case: Case, folder: Path) -> Iterator[Row]:
    """`model.quantize("int8")`: Dense, EinsumDense and Embedding layers alone."""
    model = case.load(case.path)
    model.quantize("int8")
    model.save(folder / "int8.keras")
    yield Row('Keras, quantize("int8")', (folder / "int8.keras").stat().st_size, case.predict(model), 0, 0)


def code_by_tflite(case: Case, folder: Path) -> Iterator[Row]:
    """Weights as float16 or as int8 (dynamic range)."""
    case.load(case.path).save(folder / "whole.keras")
    for kind, name in (("float16", "TFLite float16"), ("int8", "TFLite dynamic range int8")):
        if case.tflite and (content := tflite_sizes.flat(folder / "whole.keras", kind)):
            outputs = tflite_sizes.outputs(content, case.inputs)
            yield Row(name, len(content), outputs, 0, 0)
            yield Row(f"{name}, gzip -9", len(gzip.compress(content, 9)), outputs, 0, 0)


def rows(case: Case) -> Iterator[Row]:
    """All coders; one that cannot take the network is left out, and told."""
    with tempfile.TemporaryDirectory(prefix="wcodec-wild-") as name:
        folder = Path(name)
        yield from code_by_general_tools(case)
        for words in (*WCODEC, *case.calibrations):
            yield code_by_wcodec(case, words, folder)
        coders: tuple[Callable[[], Iterator[Row]], ...] = (
            lambda: code_as_float16(case),
            lambda: code_by_keras(case, folder),
            lambda: code_by_tflite(case, folder),
        )
        for coder in coders:
            try:
                yield from coder()
            except (ValueError, RuntimeError, TypeError) as error:
                print(f"{case.name}: {str(error).splitlines()[0]}", file=sys.stderr)


def table(case: Case) -> Iterator[str]:
    """The case as Markdown, smallest error first."""
    size, truth = case.path.stat().st_size, case.answers(case.path)
    yield f"\n### {case.name}: {case.words}, {size:,} file bytes\n"
    yield HEAD.format(measure=case.measure_name)
    for row in sorted(rows(case), key=lambda row: -row.nbytes):
        error = np.square(row.outputs - truth).sum() / np.square(truth - truth.mean(0)).sum()
        same = f"{100 * np.mean(case.choices(row.outputs) == case.choices(truth)):.2f} %"
        measured = f"{case.measure(row.outputs):.4f}" if case.measure else "-"
        times = f"{row.encode:.1f} | {row.decode:.1f}" if row.encode else "- | -"
        sizes = f"{row.nbytes:,} | {row.nbytes / size:.1%}"
        yield f"| {row.coder} | {sizes} | {error:.1e} | {same} | {measured} | {times} |"
        print(case.name, row.coder, row.nbytes, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(networks.CASES), choices=list(networks.CASES))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = ["Each encoding is a process of its own."]
    for name in args.only:
        lines += table(networks.CASES[name](LIMIT))
        keras.backend.clear_session()
    publish(lines, args.out)


if __name__ == "__main__":
    main()
