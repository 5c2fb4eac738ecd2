"""The records: python samples/records.py [--out FOLDER] [--seeds N] [NAME ...]

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
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import records_page
import train

from wcodec.encoder import encode
from wcodec.inspection import inspect
from wcodec.learning.data import load
from wcodec.learning.examples import Examples
from wcodec.learning.finetuning import examined, schooled
from wcodec.learning.flat import cut, joined
from wcodec.learning.load import load_model, model_inputs
from wcodec.learning.net import judged
from wcodec.learning.pupil import Frame, begin, frame, pupil, put_back
from wcodec.learning.schooling import Stage, train_epoch
from wcodec.learning.slim import slim, whole
from wcodec.learning.tensor_names import tensor_names
from wcodec.model import Tuned
from wcodec.modelfiles import open_model
from wcodec.recipe import Recipe

MNIST = f"{Path(__file__).resolve().parent / 'mnist.npz'}"
SEEN = 55_000
"""Images that are trained on, from the first; the other 5,000 choose."""


@dataclass(frozen=True)
class Course:
    """How one network is trained.

    epochs, rate, decay, reach: of the network as it is: AdamW, its rate falling to zero on a cosine; images move by up
                                to `reach` pixels.
    stages:                     (price of a bit, epochs); a price is for 60,000 examples, in nats.
    """

    epochs: int
    rate: float
    decay: float
    reach: int
    stages: tuple[tuple[float, int], ...]


COURSES = {
    "lenet5": Course(20, 1e-3, 0.1, 2, ((0.5, 8), (0.8, 8), (1.2, 10), (1.8, 10), (2.6, 10), (3.6, 10))),
    "lenet300": Course(60, 1e-3, 0.1, 1, ((0.5, 18), (0.8, 18), (1.2, 18), (1.8, 18), (2.6, 18))),
    "tutorial_cnn": Course(20, 3e-3, 0.02, 0, ((0.8, 16), (1.3, 16), (2.2, 16), (4.0, 16), (7.0, 16), (10.0, 12))),
}
"""The longest first."""


def float_network(name: str, seed: int, folder: Path) -> Path:
    """Train the network as it is, or find that it was."""

    path = folder / f"{name}-{seed}.keras"
    if path.exists():
        return path
    course = COURSES[name]
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    with np.load(train.MNIST, allow_pickle=False) as mnist:
        images, labels = mnist["x_train"][:SEEN] / np.float32(255), mnist["y_train"][:SEEN]
    model = getattr(train, name)()
    steps = course.epochs * -(-len(images) // 128)
    falling = keras.optimizers.schedules.CosineDecay(course.rate, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(falling, weight_decay=course.decay), loss, jit_compile=False)
    for _ in range(course.epochs):
        seen = train.shifted(images, course.reach, rng).reshape(-1, *model.input_shape[1:])
        model.fit(seen, labels, batch_size=128, verbose=0)
    bare = getattr(train, name)()
    bare.set_weights(model.get_weights())
    part = path.with_name(f"part-{path.name}")
    bare.save(part)
    part.replace(path)
    return path


def small_networks(name: str, seed: int, folder: Path) -> None:
    """Train the network with a price on every bit; code it at the end of each stage."""
    source = float_network(name, seed, folder)
    model = load_model(source)
    every = load(f"{MNIST}:train", model_inputs(model))
    assert every.labels is not None
    learning = Examples((every.inputs[0][:SEEN],), every.labels[:SEEN])
    choosing = Examples((every.inputs[0][SEEN:],), every.labels[SEEN:])
    exam, school = examined(model, choosing), schooled(model, learning, seed)
    with open_model(source) as file:
        names = tensor_names(model, file)
    learner = pupil(model, school.lesson)
    begin(learner, 4.0)
    latents = cut(frame(learner).latents[0], learner.weights)
    steps = frame(learner).steps[0]
    for number, (price, epochs) in enumerate(COURSES[name].stages):
        coded = folder / f"{name}-{seed}-{number}.wcz"
        state = coded.with_suffix(".npz")
        if state.exists() and coded.with_suffix(".json").exists():
            with np.load(state, allow_pickle=False) as arrays:
                latents, steps = [arrays[str(i)] for i in range(len(latents))], arrays["steps"]
            continue
        levels = [np.rint(array).astype(np.int32) for array in latents]
        for weight, level, step in zip(model.weights, levels, steps, strict=True):
            weight.assign(level * np.exp(step))
        part = slim(model, levels) if number else None
        small = part.model if part else model
        kept = [array[pick] for array, pick in zip(latents, part.picks, strict=True)] if part else latents
        learner = pupil(small, school.lesson)
        begin(learner, 4.0)
        flat, still = joined(kept), np.zeros_like(steps)
        put_back(learner, Frame((flat, 0 * flat, 0 * flat), (steps, still, still), 0.0))
        stage = Stage(number, price / 60_000, epochs)
        for epoch in range(epochs):
            loss = train_epoch(learner, school, stage, epoch)
            net = judged(learner, None, choosing, exam.truth)
            said = f"price {price}, epoch {epoch + 1}: {net.bytes} bytes, {net.accuracy:.2f} %, loss {loss:.4f}"
            print(f"{name} {seed}: {said}", flush=True)
        now = frame(learner)
        latents, steps = cut(now.latents[0], learner.weights), now.steps[0]
        if part:
            latents = [whole(part, index, array) for index, array in enumerate(latents)]
        levels = [np.rint(array).astype(np.int32) for array in latents]
        weights = [
            Tuned(level * np.float32(one.step), one.step) for level, one in zip(levels, net.rounded, strict=True)
        ]
        encode(
            source,
            coded,
            Recipe(effort="best"),
            tuned={one: weight for index, weight in enumerate(weights) for one in names[index]},
        )
        numbers = inspect(coded)
        assert net.accuracy is not None
        assert exam.accuracy is not None
        errors = round(100 - net.accuracy, 2), round(100 - exam.accuracy, 2)
        row = records_page.Row(name, seed, number, price, numbers.file_bytes, numbers.weight_bytes, *errors)
        np.savez(state, steps=steps, **{str(index): array for index, array in enumerate(latents)})
        coded.with_suffix(".json").write_text(json.dumps(asdict(row)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train and code the records.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COURSES)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out/records"), help="folder to work in")
    parser.add_argument(
        "--into", type=Path, default=Path(__file__).resolve().parent / "records", help="folder of the records"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, of one thread each")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "SEED"), help="train one network and stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.one:
        small_networks(options.one[0], int(options.one[1]), options.out)
        return
    names = [name for name in COURSES if name in (options.names or COURSES)]
    jobs = [(name, str(seed)) for seed in range(1, options.seeds + 1) for name in names]
    single = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")

    def work(job: tuple[str, str]) -> None:
        words = [sys.executable, str(Path(__file__)), "--out", str(options.out), "--one", *job]
        subprocess.run(words, check=True, env=single)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, jobs))
    records_page.finish(options.out, options.into)


if __name__ == "__main__":
    main()
