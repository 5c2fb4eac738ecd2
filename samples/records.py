"""The records: python samples/records.py [--out FOLDER] [--seeds N ...] [NAME ...]

Three networks are trained on the first 55,000 images of MNIST, as they are and then with a price on every bit, stage by
stage; the last 5,000 images of the training set make every choice; the test images are looked at once, at the end. What
is done already (in FOLDER) is not done again, so that a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import records_page
import train
from dead_units import PrunedChain, prune_units, restore_shape
from weight_freezing import freeze_weights

from wcodec.calibration.quantizable_weights import make_weight_table
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.moved_images import GENTLE, warp
from wcodec.evaluation.weight_mapping import tensor_names
from wcodec.model import StepWeights
from wcodec.modelfiles import open_model
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Recipe
from wcodec.reporting.inspection import inspect
from wcodec.training.candidate import snapshot_and_score
from wcodec.training.epoch import Phase, TrainingData, train_epoch
from wcodec.training.finetune import prepare_training
from wcodec.training.flat_adam import Float32, flatten, unflatten
from wcodec.training.qat_state import QatState, build_qat_state, initialize
from wcodec.training.unit_sorting import sort_units
from wcodec.training.validation import ValidationSet

MNIST = f"{Path(__file__).resolve().parent / 'mnist.npz'}"
SEEN = 55_000
"""Images that are trained on, from the first; the other 5,000 choose."""
COARSE = 4.0
"""Steps that the largest weight of a tensor has at first."""


@dataclass(frozen=True)
class TrainingPlan:
    """How one network is trained.

    epochs, rate, decay, reach: of the network as it is: AdamW, its rate falling to zero on a cosine; images move by up
                                to `reach` pixels.
    moved, bent:                copies of the images that are trained on with a price, each moved by up to a pixel, and
                                those bent as `--augment images` does it.
    stages:                     (price of a bit, epochs); a price is for 60,000 examples, in nats.
    plain:                      the number of last stages that learn the images as they are, without copies.
    frozen:                     the number of last stages that end with `weight_freezing.freeze_weights`.
    """

    epochs: int
    rate: float
    decay: float
    reach: int
    moved: int
    bent: int
    stages: tuple[tuple[float, int], ...]
    plain: int = 0
    frozen: int = 0


TRAINING_PLANS = {
    "lenet5": TrainingPlan(
        20, 1e-3, 0.1, 2, 3, 0, ((0.4, 10), (0.7, 14), (1.1, 22), (1.5, 26), (2.0, 30), (2.6, 28), (3.3, 24))
    ),
    "lenet300": TrainingPlan(
        epochs=60,
        rate=1e-3,
        decay=0.1,
        reach=1,
        moved=2,
        bent=2,
        stages=((0.6, 40), (1.0, 30), (1.6, 36), (2.4, 50), (3.0, 40), (3.6, 40), (4.0, 40)),
        frozen=4,
    ),
    "tutorial_cnn": TrainingPlan(
        epochs=30,
        rate=3e-3,
        decay=0.05,
        reach=1,
        moved=2,
        bent=2,
        stages=((1.3, 16), (2.4, 20), (5.5, 14), (9.5, 26)),
        plain=1,
    ),
}
"""The longest first."""


def float_network(name: str, seed: int, folder: Path) -> Path:
    """Train the network as it is, or find that it was."""

    path = folder / f"{name}-{seed}.keras"
    if path.exists():
        return path
    plan = TRAINING_PLANS[name]
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    with np.load(train.MNIST, allow_pickle=False) as mnist:
        images, labels = mnist["x_train"][:SEEN] / np.float32(255), mnist["y_train"][:SEEN]
    model = getattr(train, name)()
    steps = plan.epochs * -(-len(images) // 128)
    falling = keras.optimizers.schedules.CosineDecay(plan.rate, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(falling, weight_decay=plan.decay), loss, jit_compile=False)
    for _ in range(plan.epochs):
        seen = train.shift(images, plan.reach, rng).reshape(-1, *model.input_shape[1:])
        model.fit(seen, labels, batch_size=128, verbose=0)
    bare = getattr(train, name)()
    bare.set_weights(model.get_weights())
    part = path.with_name(f"part-{path.name}")
    bare.save(part)
    part.replace(path)
    return path


def prepare_data(name: str, model: keras.Model, seed: int) -> tuple[ValidationSet, TrainingData, TrainingData]:
    """What chooses, and what is learned from with the outputs of the network: the images with copies, and alone."""
    every = load_examples(f"{MNIST}:train", model_inputs(model))
    images, labels = every.inputs[0], every.labels[0]
    assert labels is not None
    plan, rng = TRAINING_PLANS[name], np.random.default_rng(seed)
    seen = images[:SEEN].reshape(SEEN, *images.shape[1:3])
    moved = (train.shift(seen, 1, rng) for _ in range(plan.moved))
    every_version = [seen, *moved, *(warp(seen, rng, GENTLE) for _ in range(plan.bent))]
    versions = np.concatenate(every_version).reshape(-1, *images.shape[1:])
    learning = Examples((versions,), (np.tile(labels[:SEEN], len(every_version)),))
    validation = ValidationSet.of(model, Examples((images[SEEN:],), (labels[SEEN:],)))
    data = replace(prepare_training(model, learning, seed), versions=len(every_version))
    return validation, data, prepare_training(model, Examples((images[:SEEN],), (labels[:SEEN],)), seed)


def remove_dead_units(
    model: keras.Model, latents: Float32, log_steps: Float32, data: TrainingData, *, dead: bool
) -> tuple[QatState, PrunedChain]:
    """A network to train from there, without its dead units where these are left out. Inverse: `restore_shapes`."""
    levels = unflatten(np.rint(latents).astype(np.int32), model.weights)
    for weight, level, step in zip(model.weights, levels, log_steps, strict=True):
        weight.assign(level * np.exp(step))
    part = prune_units(model, levels if dead else [np.ones_like(level) for level in levels])
    if part is None:
        raise SystemExit(f"{model.name}: expected a plain chain of layers")
    state = build_qat_state(part.model, data.targets, make_weight_table(part.model))
    initialize(state, COARSE)
    picked = [array[pick] for array, pick in zip(unflatten(latents, model.weights), part.picks, strict=True)]
    state.group.latents.reset(flatten(picked))
    state.group.log_steps.reset(log_steps)
    return state, part


def restore_shapes(state: QatState, part: PrunedChain) -> Float32:
    """The latents, in the shapes of the whole network."""
    latents = state.group.latent_values()
    return flatten([restore_shape(part, index, array) for index, array in enumerate(latents)])


def small_networks(name: str, seed: int, folder: Path) -> None:
    """Train the network with a price on every bit; what each stage comes to stays in the folder."""
    source = float_network(name, seed, folder)
    model = load_model(source)
    validation, data, plain = prepare_data(name, model, seed)
    state = build_qat_state(model, data.targets, make_weight_table(model))
    initialize(state, COARSE)
    latents, log_steps = (adam.snapshot()[0] for adam in (state.group.latents, state.group.log_steps))
    for number, (price, epochs) in enumerate(TRAINING_PLANS[name].stages):
        saved = folder / f"{name}-{seed}-{number}.npz"
        if saved.with_suffix(".json").exists():
            with np.load(saved, allow_pickle=False) as arrays:
                latents, log_steps = arrays["latents"], np.log(arrays["steps"]).astype(np.float32)
            continue
        phase = Phase(number, price / 60_000, epochs)
        if number >= len(TRAINING_PLANS[name].stages) - TRAINING_PLANS[name].plain:
            data = plain
        # Units that die in the first stage may live again: leaving them out early costs accuracy.
        state, part = remove_dead_units(model, latents, log_steps, data, dead=number > 0)

        def tell(epoch: int, loss: float, state: QatState = state, price: float = price) -> None:
            one = snapshot_and_score(state, None, validation)
            found = f"{one.bytes} bytes, {one.scores[0].accuracy:.2f} %, {one.scores[0].loss:.4f}"
            print(f"{name} {seed}: price {price}, epoch {epoch + 1}: {found}, loss {loss:.4f}", flush=True)

        for epoch in range(epochs):
            tell(epoch, train_epoch(state.step, data, phase.epoch(epoch), state.group.update))
        if number >= len(TRAINING_PLANS[name].stages) - TRAINING_PLANS[name].frozen:
            freeze_weights(state, data, phase, tell)
        one = snapshot_and_score(state, None, validation)
        latents = restore_shapes(state, part)
        accuracies = one.scores[0].accuracy, validation.scores[0].accuracy
        assert None not in accuracies
        steps = np.array([each.step for each in one.rounded])
        np.savez(saved, steps=steps, latents=latents)
        # As a run that was ended finds them.
        log_steps = np.log(steps).astype(np.float32)
        errors = [round(100 - (accuracy or 0.0), 2) for accuracy in accuracies]
        row = records_page.Row(name, seed, number, price, 0, 0, *errors)
        saved.with_suffix(".json").write_text(json.dumps(asdict(row)))


def encode_row(row: records_page.Row, folder: Path) -> records_page.Row:
    """The network of a row as a .wcz; the row with its bytes."""
    source = folder / f"{row.network}-{row.seed}.keras"
    model = load_model(source)
    with open_model(source) as file:
        names = tensor_names(model, file)
    with np.load((folder / row.file).with_suffix(".npz"), allow_pickle=False) as arrays:
        levels, steps = unflatten(np.rint(arrays["latents"]).astype(np.int32), model.weights), arrays["steps"].tolist()
    tuned = {
        one: StepWeights(level * np.float32(step), step)
        for index, (level, step) in enumerate(zip(sort_units(model, levels), steps, strict=True))
        for one in names[index]
    }
    encode(source, folder / row.file, Recipe(effort="best"), tuned=tuned)
    numbers = inspect(folder / row.file)
    every = records_page.measure_error(folder / row.file, "train")
    return replace(row, file_bytes=numbers.file_bytes, weight_bytes=numbers.weight_bytes, all_error=every)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train and code the records.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TRAINING_PLANS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out/records"), help="folder to work in")
    parser.add_argument(
        "--into", type=Path, default=Path(__file__).resolve().parent / "records", help="folder of the records"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="SEED")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, of one thread each")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "SEED"), help="train one network and stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.one:
        small_networks(options.one[0], int(options.one[1]), options.out)
        return
    names = [name for name in TRAINING_PLANS if name in (options.names or TRAINING_PLANS)]
    jobs = [(name, str(seed)) for seed in options.seeds for name in names]
    single = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")

    def work(job: tuple[str, str]) -> None:
        words = [sys.executable, str(Path(__file__)), "--out", str(options.out), "--one", *job]
        subprocess.run(words, check=True, env=single)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, jobs))
    rows = [records_page.Row(**json.loads(path.read_text())) for path in sorted(options.out.glob("*.json"))]
    records_page.finish([encode_row(row, options.out) for row in rows], options.out, options.into)


if __name__ == "__main__":
    main()
