"""A record without its dead units: python samples/compact_record.py RECORD.wcz ...

The same levels are coded anew for a network of the units that are left, in the order that takes the fewest bytes; the
file is replaced where it gets smaller. The outputs stay, but for rounding.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from unit_order import find_order

from wcodec.evaluation.model_loader import load_model
from wcodec.evaluation.weight_mapping import tensor_names
from wcodec.files import whole_file
from wcodec.model import StepWeights
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Recipe
from wcodec.reporting.coded_levels import read_header
from wcodec.structure.compaction import Compacted, compact
from wcodec.structure.output import write_network
from wcodec.training.unit_sorting import Levels, sort_units

FINER = 16
"""Parts of a step that a bias is rounded to where constants moved into it."""
MOST = 5
"""Rounds."""


def encode_compact(model: keras.Model, steps: Sequence[float], target: Path, source_bytes: int) -> int:
    """Write the .wcz of a network of which each weight is integers times its step, as small as it gets without dead
    units; its bytes.
    """
    sizes = []
    with TemporaryDirectory() as folder, whole_file(target) as temporary:
        for number, folds in enumerate((True, False)):
            coded = Path(folder) / f"{number}.wcz"
            sizes.append(_encode(model, compact(model, folds=folds), steps, coded, source_bytes))
            if sizes[-1] == min(sizes):
                temporary.write_bytes(coded.read_bytes())
    return min(sizes)


def _encode(model: keras.Model, small: Compacted, steps: Sequence[float], target: Path, source_bytes: int) -> int:
    places = {weight.path: index for index, weight in enumerate(model.weights)}
    own = [steps[places[weight.path]] for weight in small.graph.model.weights]
    values = [np.asarray(value) for value in small.model.get_weights()]
    for index, (value, step) in enumerate(zip(values, own, strict=True)):
        if not np.array_equal(np.rint(value / np.float32(step)) * np.float32(step), value):
            own[index] = step / FINER
    levels = [np.rint(value / np.float32(step)).astype(np.int32) for value, step in zip(values, own, strict=True)]
    plain = target.with_suffix(".keras")
    write_network(small.model, plain)
    with open_model(plain) as file:
        names = tensor_names(small.model, file)

    def size(levels: list[Levels]) -> int:
        tuned = {
            name: StepWeights(level * np.float32(step), step)
            for index, (level, step) in enumerate(zip(levels, own, strict=True))
            for name in names[index]
        }
        return encode(plain, target, Recipe(effort="best"), tuned=tuned, source_bytes=source_bytes).file_bytes

    return size(find_order(small.model, sort_units(small.model, levels), size))


def steps_of(record: Path, model: keras.Model) -> list[float]:
    """The step of each weight of the network in a .wcz; of one that is all zeros, 1."""
    with open_container(record) as opened:
        container = opened.container
        own = {}
        for number, facts in enumerate(container.tensors):
            rule = read_header(opened.file, facts, container.resolve(number))[0].dequantizer
            own[facts.name] = float(getattr(rule, "step", 1.0))
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "model.keras"
        write_network(model, plain)
        with open_model(plain) as file:
            names = tensor_names(model, file)
    return [next((own[name] for name in names[index] if name in own), 1.0) for index in range(len(model.weights))]


def make_compact(record: Path) -> None:
    """Replace a .wcz by one without dead units as often as it gets smaller: what moves into biases frees more."""
    for _ in range(MOST):
        model = load_model(record)
        with open_container(record) as opened:
            source_bytes = opened.container.source_bytes
        before = record.stat().st_size
        with TemporaryDirectory() as folder:
            made = Path(folder) / record.name
            if encode_compact(model, steps_of(record, model), made, source_bytes) >= before:
                return
            record.write_bytes(made.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description="Code records anew without their dead units.")
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD")
    for record in parser.parse_args().records:
        before = record.stat().st_size
        make_compact(record)
        print(f"{record}: {before:,} -> {record.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
