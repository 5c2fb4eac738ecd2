"""Training with labels: the smallest network within a budget, by epochs of which each sets the price of the next.

It begins from what calibration without labels found, which counts: nothing larger is ever the result. Learning slows
down over the epochs, and the network after each of them is examined, so that the last ones land at the budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from wcodec.training.candidate import Net, judged, put_statistics, statistics_of
from wcodec.training.epoch import LAST, SETTLED, Lap, OutOfTimeError, School, train_epoch
from wcodec.training.flat_adam import Float32
from wcodec.training.lambda_control import Budget, Exam, astray, first_price, next_price
from wcodec.training.qat_state import Frame, Pupil, frame, put_back

FULL: Final = 0.3
"""Part of the training at full speed, which then falls linearly."""
PATIENCE: Final = 80
"""Epochs in a row that find nothing better, after which training is over: so many, or half of all."""
OUTSIDE: Final = 2
"""Epochs in a row far outside of the budget, after which training goes back to where it was inside."""
LATE: Final = 0.5
"""Part of the training before which it does not: learning is too fast to tell."""
KEPT: Final = 5
"""Networks that are remembered: the file's size is known only when it is written."""


@dataclass(frozen=True)
class Place:
    """From where training may go on.

    learner: what is learned; statistics: of BatchNormalization; price: of a bit; bytes: of the network there.
    """

    learner: Frame
    statistics: tuple[Float32, ...]
    price: float
    bytes: int


@dataclass(frozen=True)
class Standing:
    """Where a search stands after an epoch: all that it needs to go on.

    done:       epochs; over: the part of the training that they are.
    size:       bytes of what it began from.
    place:      from where the next one goes on.
    found:      the best networks, best first; idle: epochs in a row that found nothing better.
    inside:     the last place within the budget; outside: epochs in a row that went astray.
    """

    done: int
    over: float
    size: int
    place: Place
    found: tuple[Net, ...] = ()
    idle: int = 0
    inside: Place | None = None
    outside: int = 0


@dataclass(frozen=True)
class Search:
    """One search. tell: hears after every epoch where it stands, of which network, and the loss in training.

    deadline: by `time.monotonic`: so many epochs are made as fit in.
    """

    learner: Pupil
    school: School
    exam: Exam
    budget: Budget
    epochs: int
    tell: Callable[[Standing, Net, float], None]
    deadline: float = float("inf")

    def best(self, nets: Sequence[Net]) -> tuple[Net, ...]:
        """Those within the budget, best first."""
        within = [net for net in nets if self.exam.allows(net, self.budget)]
        if self.budget.bytes is None:
            return tuple(sorted(within, key=lambda net: net.bytes)[:KEPT])
        return tuple(sorted(within, key=lambda net: (self.exam.drop(net), net.loss))[:KEPT])


def begun(search: Search, nets: tuple[Net, ...]) -> Standing:
    """The beginning: what the learner is now, and networks found without training."""
    net = judged(search.learner, search.school.normalizing, search.exam.held_out, search.exam.truth)
    place = _place(search, first_price(net.bytes), net.bytes)
    inside = place if search.exam.allows(net, search.budget) else None
    return Standing(0, 0.0, net.bytes, place, found=search.best((*nets, net)), inside=inside)


def finetune(search: Search, standing: Standing) -> tuple[tuple[Net, ...], bool]:
    """The best networks within the budget, best first, none where none was found; and whether training was finished.

    The network gets its original weights back. standing: goes on from there, as if there had been no interruption.
    An interrupt (KeyboardInterrupt) ends the search, and what was found counts; it goes on where that is nothing.
    """
    before, now = search.learner.model.get_weights(), standing
    patience = max(PATIENCE, search.epochs // 2)
    seconds = 0.0
    try:
        while now.done < search.epochs and now.over < 1 and now.idle < patience:
            started = time.monotonic()
            left = search.epochs - now.done
            if seconds and search.deadline < started + left * seconds:
                left = max(1, int((search.deadline - started) / seconds))
            then = 1.0 if left == 1 else now.over + (1 - now.over) / left
            put_back(search.learner, now.place.learner)
            put_statistics(search.learner, now.place.statistics)
            lap = Lap((0, now.done), now.place.price, (speed(now.over), speed(then)), now.over < SETTLED - 1e-9)
            loss = train_epoch(search.learner, search.school, lap, search.deadline)
            now, net = _after(search, now, lap, then)
            seconds = time.monotonic() - started
            search.tell(now, net, loss)
    except OutOfTimeError:
        return now.found, False
    except KeyboardInterrupt:
        if not now.found:
            raise
        return now.found, False
    finally:
        search.learner.model.set_weights(before)
    return now.found, True


def speed(over: float) -> float:
    """Factor on the learning rates, when this part of the training is over."""
    return max(LAST, min(1.0, (1 - over) / (1 - FULL)))


def _after(search: Search, was: Standing, lap: Lap, over: float) -> tuple[Standing, Net]:
    """Where the search stands once an epoch was trained."""
    exam, normalizing = search.exam, search.school.normalizing if lap.live else None
    net = judged(search.learner, normalizing, exam.held_out, exam.truth, averaged=True)
    found = search.best((*was.found, net))
    price = next_price(lap.price, net, exam, search.budget, lap.speeds[1], search.epochs, was.place.bytes)
    if net.bytes >= was.size:  # cheaper bits would end in a larger file than there is already
        price = max(price, lap.price)
    place = _place(search, price, net.bytes)
    inside = place if exam.allows(net, search.budget) else was.inside
    outside = was.outside + 1 if astray(net, exam, search.budget, lap.speeds[1]) else 0
    if inside and outside >= OUTSIDE and over > LATE:
        place, outside = replace(inside, price=inside.price / 2), 0
        inside = place
    idle = 0 if found and found[0] is net else was.idle + 1
    return Standing(was.done + 1, over, was.size, place, found, idle, inside, outside), net


def _place(search: Search, price: float, size: int) -> Place:
    return Place(frame(search.learner), statistics_of(search.learner), price, size)
