"""PyTorch modules that can be run, with the weights of a state_dict.

The inputs that multiply a weight are observed below the modules, at the operators. There every linear layer, attention
projection and step of a recurrent layer is a matrix product, so functions are followed as well as modules.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array, ModelInput
from wcodec.evaluation.runner import Observer

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch._ops import OpOverload


PRODUCTS: Final = frozenset({"aten::mm", "aten::addmm"})
CONVOLUTION: Final = "aten::convolution"


class OperatorObserver(Protocol):
    """Called for an operator below the modules, with its name and its arguments."""

    def __call__(self, name: str, given: Sequence[Tensor]) -> None: ...


@dataclass(eq=False)
class TorchWeight:
    """A `runner.NetworkWeight`: a parameter or buffer. names: all its names in the state_dict."""

    names: tuple[str, ...]
    tensor: Tensor

    @property
    def path(self) -> str:
        """The first of its names."""
        return self.names[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> str:
        """The name of a numpy type, or "bfloat16"."""
        return str(self.tensor.dtype).removeprefix("torch.")

    @property
    def place(self) -> int:
        """The address of its storage in memory."""
        return int(self.tensor.untyped_storage().data_ptr())

    def read(self) -> npt.NDArray[np.float32]:
        """See `NetworkWeight.read`."""
        values: npt.NDArray[np.float32] = self.tensor.detach().float().numpy().copy()
        return values

    def assign(self, values: Array) -> None:
        """See `NetworkWeight.assign`."""
        import torch  # noqa: PLC0415 - large, and an extra

        with torch.no_grad():
            self.tensor.copy_(torch.from_numpy(np.array(values)).reshape(self.tensor.shape))


@dataclass(eq=False)
class TorchNorm:
    """A batch normalisation layer with moving statistics."""

    module: nn.Module
    moving_mean: TorchWeight
    moving_variance: TorchWeight

    @property
    def statistics(self) -> tuple[TorchWeight, TorchWeight]:
        """The moving mean and the moving variance."""
        return self.moving_mean, self.moving_variance


@dataclass(frozen=True)
class TorchLayer:
    """The observation of a weight: the inputs that multiply it in products and convolutions."""

    weight: TorchWeight


@dataclass(eq=False)
class TorchRunner:
    """A `Runner`. outputs: their names, as soon as `find_outputs` knows them."""

    name: str
    module: nn.Module
    inputs: tuple[ModelInput, ...]
    weights: list[TorchWeight]
    outputs: tuple[str, ...] = ()

    def get_weights(self) -> list[Array]:
        """See `Runner.get_weights`."""
        return [one.read() if one.dtype == "bfloat16" else one.tensor.detach().numpy().copy() for one in self.weights]

    def set_weights(self, values: Sequence[Array]) -> None:
        """See `Runner.set_weights`."""
        for one, array in zip(self.weights, values, strict=True):
            one.assign(array)

    def predict(self, inputs: tuple[Array, ...]) -> Sequence[Array]:
        """See `Runner.predict`."""
        return [array for _, array in self._predict_named(inputs)]

    def find_outputs(self, inputs: tuple[Array, ...]) -> tuple[str, ...]:
        """The names of the outputs, from a run: the keys of a mapping, or their numbers."""
        self.outputs = tuple(name for name, _ in self._predict_named(inputs))
        return self.outputs

    def _predict_named(self, inputs: tuple[Array, ...]) -> list[tuple[str, Array]]:
        named = _list_outputs(self._run(inputs))
        found = [(name, one.float().numpy()) for name, one in named if one.is_floating_point()]
        outputs = [(name, array) for name, array in found if array.shape[:1] == (len(inputs[0]),)]
        if not outputs:
            raise RecipeError(f"{self.name}: expected outputs with an example each, got {[a.shape for _, a in found]}")
        return outputs

    def activations(self, layers: Sequence[object], inputs: tuple[Array, ...], see: Observer) -> None:
        """See `Runner.activations`."""
        numbers = {one.weight.place: number for number, one in enumerate(layers) if isinstance(one, TorchLayer)}

        def call(name: str, given: Sequence[Tensor]) -> None:
            if name in PRODUCTS or name == CONVOLUTION:
                for place, one in enumerate(given[-2:] if name in PRODUCTS else given[:2]):
                    number = numbers.get(storage_of(one))
                    if number is not None:
                        see(number, (_read_operand(name, given, place),))

        self.watch(inputs, call)

    def watch(self, inputs: tuple[Array, ...], call: OperatorObserver) -> None:
        """Run a batch, and call `call` before each operator."""
        with _observe(call):
            self._run(inputs)

    def reestimate(self, layers: Sequence[object], batches: Sequence[tuple[Array, ...]]) -> None:
        """See `Runner.reestimate`."""
        modules = [one.module for one in layers if isinstance(one, TorchNorm)]
        kept = [(one, one.momentum, one.num_batches_tracked) for one in modules]
        try:
            for one in modules:
                one.momentum = None  # the average over all batches
                one.reset_running_stats()
                one.train()
            for batch in batches:
                self._run(batch)
        finally:
            for one, momentum, count in kept:
                one.momentum, one.num_batches_tracked = momentum, count
                one.eval()

    def _run(self, inputs: tuple[Array, ...]) -> object:
        import torch  # noqa: PLC0415

        with torch.no_grad():
            result: object = self.module(*(torch.from_numpy(np.array(array)) for array in inputs))
        return result


def _read_operand(name: str, given: Sequence[Tensor], place: int) -> Array:
    """The images of a convolution, or the rows of a product that multiply its operand number `place`."""
    if name == CONVOLUTION:
        images: Array = given[0].detach().float().numpy()
        return images
    other = given[-2:][1 - place].detach().float()
    rows: Array = (other if place else other.t()).numpy()
    return rows


def list_norms(runner: TorchRunner) -> list[TorchNorm]:
    """The batch normalisation layers with moving statistics."""
    torch = sys.modules["torch"]
    known = {id(one.tensor): one for one in runner.weights}
    norms = []
    for one in runner.module.modules():
        if isinstance(one, torch.nn.modules.batchnorm._BatchNorm) and one.running_mean is not None:
            norms.append(TorchNorm(one, known[id(one.running_mean)], known[id(one.running_var)]))
    return norms


def storage_of(value: object) -> int:
    """The address of the storage of a tensor; 0 for anything else."""
    torch = sys.modules["torch"]
    return int(value.untyped_storage().data_ptr()) if isinstance(value, torch.Tensor) else 0


@contextmanager
def _observe(call: OperatorObserver) -> Iterator[None]:
    """A context in which `call` is called for each operator. An exception from it ends the run."""
    import torch  # noqa: PLC0415
    from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415

    def dispatch(
        mode: object,
        func: OpOverload,
        types: object,
        args: Sequence[Tensor] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        call(func.name().split(".")[0], args)
        return func(*args, **(kwargs or {}))

    observing = type("Observing", (TorchDispatchMode,), {"__torch_dispatch__": dispatch})
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for all of attention
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.backends.mkldnn.flags(enabled=False), observing():  # one operator for all of a recurrent layer
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _list_outputs(found: object, name: str = "output") -> list[tuple[str, Tensor]]:
    """The tensors in the return value of a module, with their names."""
    torch = sys.modules["torch"]
    if isinstance(found, torch.Tensor):
        return [(name, found)]
    parts: list[tuple[str, object]] = []
    if isinstance(found, Mapping):
        parts = [(str(key), one) for key, one in found.items()]
    elif isinstance(found, list | tuple):
        parts = [(f"{name} {number}", one) for number, one in enumerate(found)]
    return [tensor for part, one in parts for tensor in _list_outputs(one, part)]
