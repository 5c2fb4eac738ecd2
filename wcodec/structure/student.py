"""A student: any smaller network, trained to reproduce the outputs of the original (Hinton et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wcodec.errors import RecipeError, UnsupportedError
from wcodec.evaluation.keras_backend import keras
from wcodec.structure.criteria import Float64
from wcodec.structure.graph import Graph
from wcodec.structure.rebuild import without

if TYPE_CHECKING:
    from keras import Model


def check_fit(original: Model, student: Model) -> None:
    """Raises: RecipeError if the shapes of the student's inputs or outputs differ from the original's."""
    for what in ("inputs", "outputs"):
        wanted, got = ([tuple(x.shape[1:]) for x in getattr(one, what) or ()] for one in (original, student))
        if wanted != got:
            raise RecipeError(f"--student: expected {what} of shape {wanted}, as the original has, got {got}")


def start_from(graph: Graph, student: Model, scores: Float64) -> bool:
    """Copy the original's best units into the student, if it is a narrower version of the original.

    Returns whether it is.
    """
    layers = {layer.name: layer for layer in student.layers}
    kept = np.ones(graph.count, bool)
    for size in graph.sizes:
        layer = layers.get(size.layer.name)
        if layer is None:
            return False
        wanted: object = layer.get_config()
        for key in size.path:
            named = isinstance(wanted, dict) and key in wanted
            wanted = wanted[key] if isinstance(wanted, dict) and named else None
        here = np.unique(size.units[size.units >= 0])
        more = int(kept[here].sum()) - wanted if isinstance(wanted, int) and wanted > 0 else 0
        if more > 0:
            alive = here[kept[here] & graph.removable[here]]
            kept[alive[np.argsort(np.nan_to_num(scores[alive]), kind="stable")[:more]]] = False
    try:
        small = without(graph, kept)
    except (UnsupportedError, ValueError):
        return False
    weights = [keras().ops.convert_to_numpy(one) for one in small.weights]
    if [tuple(one.shape) for one in weights] != [tuple(one.shape) for one in student.weights]:
        return False
    student.set_weights(weights)
    return True
