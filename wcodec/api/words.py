"""The keywords of `encode`, with their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict


class Words(TypedDict, total=False):
    """The options of `encode`: those of `planning.options`, as on the command line; see `wcodec encode -h`."""

    lossless: bool
    preset: str
    effort: str
    sparsity: float
    threshold: float | str
    bits: int
    clusters: int
    block: int
    start: str
    step: float | str
    quantizer: str
    per_channel: bool
    coder: str
    set: str | Sequence[str] | Mapping[str, str | Mapping[str, object]]
    include: str | Sequence[str]
    exclude: str | Sequence[str]
    max_error: float
    target_size: int | str
    target_ratio: float
    global_sparsity: bool
    keep_optimizer: bool
    seed: int
