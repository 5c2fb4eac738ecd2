"""Training with labels: the smallest network within a budget, by stages of which each sets the price of the next.

Rate-distortion by Lagrangian, as `distill`: what a bit should cost is not known beforehand. A stage is trained to its
end at one price; prices rise while the budget holds. A stage that went too far is taken back, and the price between is
tried from the best network so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from wcodec.learning.examples import Examples
from wcodec.learning.flat import Float32
from wcodec.learning.net import Net, judged, put_statistics, statistics_of
from wcodec.learning.pupil import Frame, Pupil, begin, forget, frame, put_back
from wcodec.learning.schooling import School, Stage, settled, train_epoch
from wcodec.learning.scores import Truth

FIRST: Final = 4e-6
"""Price of a bit in the first stage, in the loss of an example: low, for a stage that goes too far is lost."""
AIM: Final = 0.8
"""Part of the drop allowed that a stage aims at."""
CLIP: Final = (1 / 8, 4.0)
"""Least and most that a price is multiplied by."""
LEAST: Final = 1.3
"""Least by which a price rises that kept to the budget."""
CLOSE: Final = 0.97
"""Part of the bytes allowed that is aimed at."""
BYTES_POWER: Final = 2.5
"""A price goes with this power of the bytes to be saved."""
PATIENCE: Final = 2
"""Stages in a row that bring nothing, after which the search is over."""
PLAIN: Final = (64.0, 32.0, 16.0, 8.0, 4.0)
"""Steps that the largest weight has in networks that are only rounded: there is always something to fall back on."""
ROOM: Final = 1.2
"""Training may begin with so many times the bytes allowed."""
COARSE: Final = 4.0
"""Steps that the largest weight has where training begins: learning goes on with coarse ones better than from fine."""
UPDATES: Final = 2000
"""Steps of training, under which it begins finer."""
KEPT: Final = 5
"""Networks that are remembered: the file's size is known only when it is written."""


@dataclass(frozen=True)
class Budget:
    """What the result must keep to: points of accuracy lost, bytes of weights; None where that is free.

    Of values, where there is no accuracy, points are hundredths of their variance in squared error.
    """

    drop: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Exam:
    """What networks are judged by. accuracy, loss: of the network before; variance: of the labels."""

    held_out: Examples
    truth: Truth
    accuracy: float | None
    loss: float
    variance: float = 1.0

    def drop(self, net: Net) -> float:
        """Points lost."""
        if net.accuracy is None or self.accuracy is None:
            return 100 * (net.loss - self.loss) / self.variance
        return self.accuracy - net.accuracy


@dataclass(frozen=True)
class Standing:
    """Where a search stands after an epoch: all that it needs to go on.

    stage:      which of all, counted from 0; done: epochs of it; price: its.
    learner:    what is learned so far; statistics: of BatchNormalization.
    found:      the best networks, best first.
    inside:     the highest price that kept to the budget, and what was learned by it; outside: the lowest that did not.
    idle:       stages in a row that found nothing better; best: what they had to better.
    """

    stage: int
    done: int
    price: float
    learner: Frame
    statistics: tuple[Float32, ...] = ()
    found: tuple[Net, ...] = ()
    inside: tuple[float, Frame] | None = None
    outside: float | None = None
    idle: int = 0
    best: Net | None = None


@dataclass(frozen=True)
class Search:
    """One search. tell: hears after every epoch where it stands, of which network, and the loss in training."""

    learner: Pupil
    school: School
    exam: Exam
    budget: Budget
    epochs: int
    tell: Callable[[Standing, Net, float], None]


def stages(total: int) -> tuple[int, ...]:
    """Epochs of each stage: a third or a quarter of all, or less; the last is the longest."""
    count = 1 if total < 3 else 2 if total < 6 else 3 if total < 12 else min(8, 2 + total // 8)
    return tuple(sorted(total * (i + 1) // count - total * i // count for i in range(count)))


def finetune(search: Search, standing: Standing | None = None) -> tuple[tuple[Net, ...], bool]:
    """The best networks within the budget, best first, none where none was found; and whether training was finished.

    The network gets its original weights back.

    standing: goes on from there, as if there had been no interruption.
    An interrupt (KeyboardInterrupt) ends the search, and what was found counts; it goes on where that is nothing.
    """
    lengths = stages(search.epochs)
    before = search.learner.model.get_weights()
    now = standing or _first(search)
    put_back(search.learner, now.learner)
    put_statistics(search.learner, now.statistics)
    try:
        while now.stage < len(lengths) and now.idle < PATIENCE:
            stage = Stage(now.stage, now.price, lengths[now.stage])
            if now.done == 0:
                forget(search.learner)
            loss = train_epoch(search.learner, search.school, stage, now.done)
            now, net = _after(search, now, stage, last=now.stage == len(lengths) - 1)
            search.tell(now, net, loss)
    except KeyboardInterrupt:
        if not now.found:
            raise
        return now.found, False
    finally:
        search.learner.model.set_weights(before)
    return now.found, True


def _first(search: Search) -> Standing:
    """The beginning: the network rounded only, by several steps, which counts; one of them is trained on."""
    before, limit = search.learner.model.get_weights(), search.budget.bytes
    updates = search.epochs * (search.school.count // search.school.batch)
    parts = COARSE * max(1.0, (UPDATES / max(updates, 1)) ** 0.5)
    plain = []
    for fine in PLAIN:
        begin(search.learner, fine)
        plain.append(judged(search.learner, search.school.normalizing, search.exam.held_out, search.exam.truth))
        if limit is not None and plain[-1].bytes > ROOM * limit:
            parts = min(parts, fine / 2)
        search.learner.model.set_weights(before)
    begin(search.learner, parts)
    return Standing(0, 0, FIRST, frame(search.learner), found=_best(search, tuple(plain)))


def _after(search: Search, was: Standing, stage: Stage, *, last: bool) -> tuple[Standing, Net]:
    """Where the search stands once an epoch was trained; at the end of a stage, at the beginning of the next."""
    live = not settled(stage, was.done)
    net = judged(search.learner, search.school.normalizing if live else None, search.exam.held_out, search.exam.truth)
    now = replace(
        was,
        done=was.done + 1,
        learner=frame(search.learner),
        statistics=statistics_of(search.learner),
        found=_best(search, (*was.found, net)),
    )
    limit = search.budget.bytes
    if last and limit is not None:  # nothing comes after it that could still save
        now = replace(now, price=was.price * float(np.clip((net.bytes / (CLOSE * limit)) ** 4, 0.5, 8.0)))
    return (_next_stage(search, now, net) if now.done == stage.epochs else now), net


def _best(search: Search, nets: tuple[Net, ...]) -> tuple[Net, ...]:
    """Those within the budget, best first."""
    budget, exam = search.budget, search.exam
    within = [
        net
        for net in nets
        if (budget.drop is None or exam.drop(net) <= budget.drop)
        and (budget.bytes is None or net.bytes <= budget.bytes)
    ]
    if budget.bytes is None:
        return tuple(sorted(within, key=lambda net: net.bytes)[:KEPT])
    return tuple(sorted(within, key=lambda net: (exam.drop(net), net.loss))[:KEPT])


def _next_stage(search: Search, now: Standing, net: Net) -> Standing:
    """The price of the next stage, and what it starts from: the end of this one, unless that went too far."""
    best = now.found[0] if now.found else None
    then = replace(now, stage=now.stage + 1, done=0, best=best, idle=now.idle + 1 if best and best is now.best else 0)
    if search.budget.bytes is not None:
        ratio = (net.bytes / (CLOSE * search.budget.bytes)) ** BYTES_POWER
        return replace(then, price=now.price * float(np.clip(ratio, *CLIP)))
    allowed = search.budget.drop or 0.0
    lost = search.exam.drop(net)
    if lost <= allowed:
        price = now.price * float(np.clip(AIM * allowed / max(lost, 1e-9), LEAST, CLIP[1]))
        if now.outside is not None:
            price = min(price, (now.price * now.outside) ** 0.5)
        return replace(then, price=price, inside=(now.price, now.learner))
    if now.inside is None:
        return replace(then, price=now.price * max(CLIP[0], allowed / lost), outside=now.price)
    put_back(search.learner, now.inside[1])
    price = (now.inside[0] * now.price) ** 0.5
    return replace(then, price=price, outside=now.price, learner=now.inside[1])
