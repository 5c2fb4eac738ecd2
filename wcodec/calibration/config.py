"""The settings of calibration. `benchmarks/NOTES.md` has the experiments that they come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CalibrationConfig:
    """Settings for observing, rounding and searching a network. Steps are relative to the rms of the largest kernel.

    Observation of the network:
    batch_examples:      smallest and largest number of examples in a batch. Hooked layers run one by one and take
                         nearly as long for few examples.
    batch_numbers:       the target for the numbers in the inputs or outputs of a batch, between these bounds.
    batch_norm_examples: examples for the statistics of BatchNormalization.
    passes:              runs of the network for one trial: the layer groups of deep networks share a run.
    rows_per_input:      rows for each input of a kernel that are enough for its Hessian.
    min_examples:        the smallest number of examples for these rows: with half of them inverted_residual (zoo) is 10
                         % worse. Where an example has several predictions, the number of predictions.
    compared_examples:   the smallest number of examples with several predictions.
    probed_examples:     examples by which the rows of a layer are counted.
    cache_bytes:         bytes of rows of the original network that are kept between trials.
    max_rows:            rows that are enough for a Hessian.
    max_elements:        the largest number of elements in the rows of one operation.
    max_inputs:          inputs of one Hessian. Wider kernels get several, without feedback between them.

    Search of the step:
    dampings:       of the Hessian, as fractions of its mean diagonal, in the order in which they are tried.
    max_trials:     trials for one damping.
    tolerance:      step scales with a smaller ratio count as equal.
    first_factor:   factor between the first two step scales.
    first_scale:    the first step scale: the second number divided by the number of kernels, but at most the first.
    bytes_exponent: bytes of kernels fall approximately with this power of the KL divergence.
    size_exponent:  steps grow with this power of the number of weights in a tensor.
    max_factor:     the largest factor or divisor of a step in `balance_steps`.

    Vectors (biases, gains, statistics), which are rounded last:
    vector_steps:     steps that are tried, as fractions of the rms of a vector.
    max_vector_share: the largest share of the allowed KL divergence that is reserved for vectors.

    Codebooks:
    codebook_scale:   the first scale.
    codebook_factor:  factor between the first two scales.
    bit_price:        the squared error, in squared steps, that a bit is worth.
    codebook_damping: damping of the Hessian.
    """

    batch_examples: tuple[int, int] = (4, 500)
    batch_numbers: int = 400_000
    batch_norm_examples: int = 4000
    passes: int = 24
    rows_per_input: int = 40
    min_examples: int = 1000
    compared_examples: int = 50
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
