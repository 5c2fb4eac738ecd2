"""What `encode --data` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from wcodec.calibration.codebook_weights import CodebookRequest
from wcodec.planning.recipe import Recipe

MAX_FITTED: Final = 2000
"""Inputs for rounding with feedback: more do not change its result."""


@dataclass(frozen=True)
class CalibrationRequest:
    """What the user asked of a calibrated encoding.

    data:     where the inputs are, see `data.load`; labels are used to measure only.
    max_drop: points of accuracy that may be lost.
    max_kl:   nats by which the answers may diverge.
    min_agreement: percent of the choices that stay.
    most_bytes:    of the file. With it the best answers for the bytes are looked for, not the fewest bytes.
    sharing:  codebooks that were asked for, in place of steps; then nothing is trained.
    recipe:   what it codes exactly stays as it is.
    steps:    of training; None: as many as fit into `seconds`, 0: none.
    """

    data: str
    max_drop: float | None = 0.5
    max_kl: float | None = None
    min_agreement: float | None = None
    most_bytes: int | None = None
    steps: int | None = None
    seconds: float = 120.0
    limit: int | None = None
    rescale: float | None = None
    architecture: str | None = None
    imports: Sequence[str] = ()
    unsafe: bool = False
    seed: int = 0
    sharing: CodebookRequest | None = None
    recipe: Recipe = field(default_factory=Recipe)
