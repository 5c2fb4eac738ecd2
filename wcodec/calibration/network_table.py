"""The table of the weights of a network of any framework."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from wcodec.calibration.onnx_ops import make_onnx_table
from wcodec.calibration.quantizable_weights import WeightTable, make_weight_table
from wcodec.calibration.torch_ops import make_torch_table
from wcodec.evaluation.examples import Array
from wcodec.evaluation.onnx_backend import OnnxRunner
from wcodec.evaluation.runner import Network
from wcodec.evaluation.torch_backend import TorchRunner
from wcodec.evaluation.weight_mapping import tensor_names
from wcodec.model import Model as ModelFile

FEW: Final = 4
"""The number of examples with which a PyTorch module is run to find its operations."""


def make_network_table(
    network: Network, file: ModelFile, exact: Collection[str], inputs: tuple[Array, ...]
) -> WeightTable:
    """The weights of a network with their original values, named as in its file.

    exact:  tensors of the file that stay as they are.
    inputs: of examples.
    """
    if isinstance(network, TorchRunner):
        return make_torch_table(network, file, exact, tuple(array[:FEW] for array in inputs))
    if isinstance(network, OnnxRunner):
        return make_onnx_table(network, file, exact)
    return make_weight_table(network, tensor_names(network, file), exact)
