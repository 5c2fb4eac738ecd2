"""The time that a network takes, by which training within a time limit is planned.

It is that of the processor, so that other programs do not change the plan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import BATCH, compute_outputs
from wcodec.evaluation.runner import Network

COMPILING: Final = 25
"""Compiling a step of training takes so many times as long as compiling the network (16 to 26 were measured)."""


@dataclass(frozen=True)
class Pace:
    """Seconds of a network. example: for one; compiling: a step of training, before the first one."""

    example: float
    compiling: float


def measure_pace(model: Network, examples: Examples) -> Pace:
    """The pace on a few of these examples."""
    few = examples.take(np.arange(min(examples.count, 2 * BATCH)))
    began = time.process_time()
    compute_outputs(model, few)
    compiled = time.process_time()
    compute_outputs(model, few)
    ended = time.process_time()
    return Pace((ended - compiled) / few.count, COMPILING * max(0.0, 2 * compiled - began - ended))
