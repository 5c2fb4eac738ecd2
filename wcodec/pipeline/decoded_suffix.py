"""The suffixes of decoded files: which of them name another kind of model file than the encoded one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wcodec.errors import RecipeError

SUFFIX: Final = ".wcz"
MODEL_SUFFIXES: Final = frozenset({".h5", ".hdf5", ".keras", ".npy", ".npz", ".onnx", ".safetensors"})
"""The suffixes of the model files that decode writes."""
TORCH_SUFFIXES: Final = frozenset({".pt", ".pth", ".bin", ".ckpt"})
"""The suffixes of PyTorch checkpoints, which decode writes for lossless files only; others become safetensors."""


def decoded_kind(source: Path, max_output: int | None = None) -> tuple[str, bool]:
    """The suffix of the model that a .wcz decodes to, and whether it is decoded byte for byte.

    Raises: ContainerError and its kinds, OSError.
    """
    from wcodec.modelfiles import suffix
    from wcodec.pipeline.decoder import open_container
    from wcodec.pipeline.open_container import is_lossless

    with open_container(source, max_output=max_output) as opened:
        container = opened.container
        return suffix(container.kind, container.skeleton), is_lossless(container)


def refuse_wrong_suffix(source: Path, target: Path, kind: str, *, exact: bool) -> None:
    """Raises: RecipeError if `target` names another kind of model file than the decoded one.

    kind:  the suffix of the encoded model; "" allows every name.
    exact: the file is decoded byte for byte, so that the name of `source` without .wcz is right too.
    """
    if not (other := _find_wrong_suffix(source, target, kind, exact)):
        return
    *others, last = dict.fromkeys([kind, ".npz", ".safetensors"])
    expected = f"{', '.join(others)} or {last}, as the model in it"
    is_checkpoint = kind == ".safetensors" and other in TORCH_SUFFIXES
    reason = "; a PyTorch checkpoint is decoded to safetensors, which torch.load does not read" if is_checkpoint else ""
    raise RecipeError(f"{target}: expected {expected}, got {other}{reason}")


def _find_wrong_suffix(source: Path, target: Path, kind: str, exact: bool) -> str:
    """The suffix of `target` if it names another kind of model file than the decoded one, otherwise "".

    kind:  the suffix of the encoded model; the file's own name, X.h5.wcz, is right, except that of a PyTorch
           checkpoint that was encoded by its tensors.
    exact: the file is decoded byte for byte.
    """
    own = Path(source.name.removesuffix(SUFFIX)).suffix
    right = {"." + kind.rpartition(".")[2], ".npz", ".safetensors"}
    right |= {own} if exact or kind != ".safetensors" or own not in TORCH_SUFFIXES else set()
    right |= {".hdf5"} if ".h5" in right else TORCH_SUFFIXES if kind == ".pt" else set()
    wrong = (MODEL_SUFFIXES | TORCH_SUFFIXES | ({SUFFIX} if target != source else set())) - right
    return target.suffix if kind and target.suffix in wrong else ""
