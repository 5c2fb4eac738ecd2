"""The journal of a search: an Optuna study in a file to which several processes may write."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wcodec.calibration.policy import OF_GROUP, RANGES, Policy, PolicyOrigin
from wcodec.calibration.request import Sampler
from wcodec.errors import RecipeError
from wcodec.reporting.search_page import SearchTrial

if TYPE_CHECKING:
    from types import ModuleType

    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

NAME: Final = "wcodec"
STARTUP: Final = 12
"""The number of random trials before TPE has a model, including the first ones."""


def optuna() -> ModuleType:
    """The module optuna, without its log messages. Raises: RecipeError if it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna as module  # noqa: PLC0415 - of the extra `search`
    except ImportError as exc:
        raise RecipeError("--search: expected Optuna, it is missing: pip install 'wcodec[search]'") from exc
    module.logging.set_verbosity(module.logging.ERROR)
    return module


class SearchJournal:
    """A study, and the trials that were asked for and have no result yet."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._asked: dict[int, Trial] = {}

    def count(self) -> int:
        """The number of trials with a result."""
        return len(self._list_done())

    def trials(self) -> tuple[SearchTrial, ...]:
        """The trials with a result, in the order of their numbers."""
        return tuple(
            SearchTrial(
                one.number,
                int(one.user_attrs["bytes"]),
                float(one.user_attrs["kl"]),
                bool(one.user_attrs["allowed"]),
                {name: float(octaves) for name, octaves in one.params.items()},
            )
            for one in self._list_done()
        )

    def _list_done(self) -> list[FrozenTrial]:
        state = optuna().trial.TrialState.COMPLETE
        return list(self._study.get_trials(deepcopy=False, states=(state,)))

    def keep_origin(self, origin: PolicyOrigin) -> PolicyOrigin:
        """The origin of the search: that of the trials in the journal, or this one if there are none."""
        known = self._study.user_attrs.get("origin")
        if known is None:
            self._study.set_user_attr("origin", asdict(origin))
            return origin
        lists = {word: tuple(known[word]) for word in ("factors", "groups", "kernels", "narrow")}
        return replace(origin, **{**known, **lists})

    def enqueue(self, policy: Policy) -> None:
        """Put this policy next, once. Dimensions that it leaves out are unchanged."""
        count = max(self._study.user_attrs["origin"]["groups"]) + 1
        of_groups = {f"{word} {number}": 0.0 for word in OF_GROUP for number in range(count)}
        every = {"scale": 0.0, "damping": 0.0, **of_groups}
        with _ignore_warnings():
            self._study.enqueue_trial({**every, **policy}, skip_if_exists=True)

    def ask(self, names: Iterable[str]) -> SearchTrial:
        """The next policy to try."""
        floats = optuna().distributions.FloatDistribution
        with _ignore_warnings():
            trial = self._study.ask({name: floats(*RANGES[name.split(" ")[0]]) for name in names})
        self._asked[trial.number] = trial
        return SearchTrial(trial.number, 0, 0.0, False, dict(trial.params))

    def tell(self, one: SearchTrial, score: float) -> None:
        """Record the result of a trial."""
        trial = self._asked.pop(one.number)
        for word, value in (("bytes", one.bytes), ("kl", min(one.kl, 1e30)), ("allowed", one.allowed)):
            trial.set_user_attr(word, value)
        with _ignore_warnings():
            self._study.tell(trial, score)

    def stop(self) -> None:
        """Stop every process that shares the journal."""
        self._study.set_user_attr("stopped", True)

    def is_stopped(self) -> bool:
        """Whether `stop` was called after the journal was opened by the process that searches."""
        return bool(self._study.user_attrs.get("stopped"))


def open_journal(path: Path, settings: str, sampler: Sampler, seed: int, *, resume: bool) -> SearchJournal:
    """The journal at `path`; a new one unless it is continued.

    settings: the settings that determine the trials.
    Raises: RecipeError if the file is not a journal, or belongs to another search.
    """
    module = optuna()
    if not resume:
        path.unlink(missing_ok=True)
    try:
        with _ignore_warnings():
            backend = module.storages.journal.JournalFileBackend(str(path))
            storage = module.storages.JournalStorage(backend)
            study = module.create_study(
                storage=storage, study_name=NAME, load_if_exists=True, sampler=_make_sampler(module, sampler, seed)
            )
        known = study.user_attrs.get("settings")
    except (ValueError, LookupError, TypeError, UnicodeDecodeError) as exc:
        got = type(exc).__name__
        raise RecipeError(f"{path.name}: expected the journal of a search, got {got}; remove it") from exc
    if known is None:
        study.set_user_attr("settings", settings)
    elif known != settings:
        word = _find_first_difference(known, settings)
        raise RecipeError(f"{path.name}: expected the journal of this search, got one with another {word}; remove it")
    return SearchJournal(study)


def _find_first_difference(known: str, settings: str) -> str:
    before, now = json.loads(known), json.loads(settings)
    return next((word for word in now if before.get(word) != now[word]), "version")


def _make_sampler(module: ModuleType, name: Sampler, seed: int) -> object:
    if name == "cmaes":
        try:
            return module.samplers.CmaEsSampler(seed=seed, n_startup_trials=2)
        except ImportError as exc:
            raise RecipeError("--sampler cmaes: expected cmaes, it is missing: pip install 'wcodec[search]'") from exc
    return module.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True)


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
