"""Encoding options that are not part of the recipe: data and training, loading of the model, and execution.

The command line and Python use them in the same way as those in `options`.
"""

from __future__ import annotations

from typing import Final

from wcodec.planning.option_values import (
    parse_bool,
    parse_data,
    parse_float,
    parse_int,
    parse_network,
    parse_path,
    parse_patterns,
    parse_ratio,
    parse_score,
    parse_seconds,
    parse_text,
    parse_threads,
)
from wcodec.planning.options import OPTIONS, Option, switch

SENSITIVITIES: Final = ("fisher", "hessian", "kl", "none")
"""Estimates of the cost of a weight's error: Fisher information, Hessian, measured divergence, or a fixed rule."""

INPUT_OPTIONS: Final = (
    Option("limit", parse_int, "use at most N inputs", "N", "learning"),
    Option("rescale", parse_float, "factor for the inputs (default: 1/255 for bytes)", "F", "learning"),
    Option(
        "model",
        parse_network,
        "architecture of a weights file: a model file, or module:function (of Keras, or an nn.Module)",
        "ARCH",
        "learning",
    ),
    Option(
        "imports",
        parse_patterns,
        "a module that defines layers of the model",
        "MODULE",
        "learning",
        repeats=True,
        spelling="--import",
    ),
    switch("unsafe", "allow the model file to run its own code", "learning"),
)
"""Options for reading the data and the model."""
SCORE_OPTIONS: Final = (
    Option(
        "score",
        parse_score,
        "your own score: F(tensors) or F(path) returns a number, higher is better; --max-drop is in its units",
        "MODULE:F",
        "learning",
    ),
    Option("score_name", parse_text, "the number to use if F returns a dict of numbers", "NAME", "learning"),
)
"""Options of the user's own score."""
METHOD_OPTIONS: Final = (
    Option("rounds", parse_int, "rounds of pruning and retraining of --method magnitude (default: 4)", "N", "learning"),
    Option("initial_sparsity", parse_float, "initial sparsity of --method gradual (default: 0)", "S", "learning"),
    Option(
        "prune_begin", parse_float, "start of --method gradual, 0 to 1 of the training (default: 0)", "P", "learning"
    ),
    Option(
        "prune_end", parse_float, "end of --method gradual, 0 to 1 of the training (default: 0.75)", "P", "learning"
    ),
    Option("prune_every", parse_int, "steps between two prunings (default: 100)", "STEPS", "learning"),
    Option(
        "criterion",
        parse_text,
        "the order in which --method prunes weights (default: magnitude)",
        group="learning",
        choices=("magnitude", "obd"),
    ),
    Option("bucket", parse_int, "number of weights with one scale, for --method quantized and points", "N", "learning"),
    switch("learn_range", "train the steps of --method quantized", "learning"),
    Option("ratio", parse_ratio, "values divided by weights of --method hashed (default: 1/16)", "R", "learning"),
    switch("all_layers", "--method binary for the first and the last layer too", "learning"),
)
"""The fields of `training.methods.registry.MethodOptions`."""
LEARNING_OPTIONS: Final = (
    Option("data", parse_data, "inputs, and labels if any: F.npz:train, an image folder, ...", "D", "learning"),
    Option(
        "validation",
        parse_data,
        "examples for all decisions, like --data (default: a part of D)",
        "V",
        "learning",
    ),
    Option("max_drop", parse_float, "largest drop of accuracy (default: 0.5)", "POINTS", "learning"),
    Option("max_loss", parse_float, "largest rise of the loss (default for values: 5)", "PERCENT", "learning"),
    Option("max_kl", parse_float, "largest KL divergence of the outputs: 0.01", "NATS", "learning"),
    Option("min_agreement", parse_float, "smallest share of predictions that stay: 99.5", "PERCENT", "learning"),
    Option(
        "sensitivity",
        parse_text,
        "estimate for --bits auto:N (default: fisher) and for the first steps of calibration",
        group="learning",
        choices=SENSITIVITIES,
    ),
    Option("tune", parse_int, "steps of training without labels; 0: none", "STEPS", "learning"),
    Option(
        "search", parse_int, "try N variations of the steps by real encodings (needs wcodec[search])", "N", "learning"
    ),
    Option("sampler", parse_text, "the sampler of --search (default: tpe)", group="learning", choices=("tpe", "cmaes")),
    Option("finetune", parse_int, "train with labels, for the smallest files", "EPOCHS", "learning"),
    Option("augment", parse_text, "train on shifted and rotated images too", group="learning", choices=("images",)),
    Option(
        "method",
        parse_text,
        "training method: auto, gradual, magnitude, sharing, quantized, points, binary, hashed, ...",
        "M",
        "learning",
    ),
    *METHOD_OPTIONS,
    switch("resume", "continue an interrupted --finetune or --search", "learning"),
    Option(
        "time_limit",
        parse_seconds,
        "end the search or the training after this time: 90s, 5m (default: none)",
        "T",
        "learning",
    ),
    Option(
        "moments", parse_path, "second moments E[x x'] of the inputs by tensor, without --data", "M.npz", "learning"
    ),
    *SCORE_OPTIONS,
    *INPUT_OPTIONS,
)
"""Options of calibration and training."""
RUN_OPTIONS: Final = (
    Option("threads", parse_threads, "threads; 0: all cores (default)", "N", "run", spelling="-T"),
    Option(
        "compact",
        parse_bool,
        group="run",
        switches=(
            ("--compact", True, "first remove dead units; outputs stay the same (needs Keras)"),
            ("--no-compact", False, "keep dead units after --finetune: decoding returns the shapes of SRC"),
        ),
        rivals="compact",
    ),
    Option("base", parse_path, "store the difference from this file or .wcz; decode needs it", "OLD", "run"),
    switch("family", "store similar files of a folder as differences from each other", "run"),
)
REQUEST_OPTIONS: Final = (*LEARNING_OPTIONS, *RUN_OPTIONS)
"""All of them: the fields of `api.request.EncodeRequest`."""
REQUEST_WORDS: Final = {option.word: option for option in REQUEST_OPTIONS}
FLAGS: Final = {option.flag: option.word for option in (*OPTIONS, *REQUEST_OPTIONS)}
"""The name of an option in Python, by its flag on the command line."""
