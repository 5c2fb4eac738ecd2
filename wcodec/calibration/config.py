"""The settings of calibration; `benchmarks/NOTES.md` has the experiments that they come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CalibrationConfig:
    """How a network is observed, rounded and searched. Steps are relative to the rms of the largest kernel.

    Observation of the network:
    batch_examples:   fewest and most examples of a batch; batch_numbers: numbers in its inputs, between these bounds.
                      Hooked layers run one by one, and take nearly as long for few examples.
    batch_norm_examples: examples for the statistics of BatchNormalization.
    passes:           runs of the network for one trial: the layer groups of deeper networks share a run.
    rows_per_input:   rows per input of a kernel that are enough for its Hessian;
    min_examples:     examples that they come from at least: with half of them inverted_residual (zoo) is 10 % worse.
    probed_examples:  examples by which the rows of a layer are counted.
    cache_bytes:      rows of the original network that are kept between trials.
    max_rows:         rows that are enough for a Hessian; max_elements: numbers in the rows of one operation.
    max_inputs:       inputs of one Hessian: wider kernels get several, without feedback between them.

    Search of the step:
    dampings:         of the Hessian, as parts of its mean diagonal, in the order in which they are tried.
    max_trials:       trials for one damping; tolerance: ratio under which two step scales count as equal.
    first_factor:     factor between the first two step scales.
    first_scale:      first step scale: the first number at most, and the second over the number of kernels.
    bytes_exponent:   bytes of kernels fall with about this power of the KL divergence.
    size_exponent:    steps grow with this power of a tensor's number of weights.
    max_factor:       most that `balance_steps` multiplies or divides a step by.

    Vectors (biases, gains, statistics), which are rounded last:
    vector_steps:     steps that are tried, as parts of the rms of a vector.
    max_vector_share: part of the allowed KL divergence that is left to vectors at most.

    Codebooks:
    codebook_scale:   first scale, and codebook_factor: factor between the first two.
    bit_price:        squared error, in squared steps, that a bit is worth.
    codebook_damping: damping of the Hessian.
    """

    batch_examples: tuple[int, int] = (4, 500)
    batch_numbers: int = 400_000
    batch_norm_examples: int = 4000
    passes: int = 24
    rows_per_input: int = 40
    min_examples: int = 1000
    probed_examples: int = 8
    cache_bytes: int = 1 << 29
    max_rows: int = 40_000
    max_elements: int = 1 << 27
    max_inputs: int = 4096

    dampings: tuple[float, ...] = (0.1, 0.01)
    max_trials: int = 8
    tolerance: float = 1.05
    first_factor: float = 2.0**0.5
    first_scale: tuple[float, float] = (3.4, 16.0)
    bytes_exponent: float = 0.35
    size_exponent: float = 0.25
    max_factor: float = 8.0

    vector_steps: tuple[int, ...] = (2, 3, 4, 6, 9, 12, 24, 48, 96)
    max_vector_share: float = 1 / 8

    codebook_scale: float = 1.5
    codebook_factor: float = 1.5
    bit_price: float = 0.1
    codebook_damping: float = 0.1
