"""Check before the first page that each worker can do the work, and that all would make the same output."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import Settings
from foliopress.flows.cluster.cluster import GPU, raise_if_closed
from foliopress.flows.cluster.shared_places import SharedPlaces, SharedPlacesCheck, check_shared_places, own_versions
from foliopress.model.scoring import ScorerName

if TYPE_CHECKING:
    from distributed import Client, Future

_WAIT_S = 120.0
"""Longest wait for busy workers, in seconds; a worker that answers later is checked before its first page."""
_TICK_S, _LOOK_EVERY_S = 0.01, 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerFacts:
    """Scorer, model and Tesseract of a worker that scores."""

    scorer: ScorerName
    model_digest: str
    tesseract: str


def check_worker(settings: Settings, kind: ScorerName | None, shared_places: SharedPlaces) -> WorkerFacts | None:
    """Run on a worker: check that it has everything it needs.

    Args:
        settings: Settings of the run.
        kind: Scorer to use; None if the worker does not score.
        shared_places: SOURCE and DEST as the driver sees them.

    Returns:
        The worker's facts; None from a worker that does not score.

    Raises:
        ConfigError: If it sees other places than the driver, or the model, Tesseract's languages or the temporary
            folder cannot be used there.
        StoreUnavailable: If a store gives no answer.
    """
    from foliopress.flows.host.host_checks import check_temporary_folder
    from foliopress.model.scoring import load_scorer
    from foliopress.tasks.codecs.encode import require

    check_temporary_folder()
    check_shared_places(shared_places, settings.storage, settings.ocr)
    require(settings.encode.codec)
    tesseract = dict(own_versions(settings.ocr))["tesseract"]
    if kind is None:
        return None
    scorer = load_scorer(settings.importance.model, kind)
    return WorkerFacts(scorer.name, scorer.digest, tesseract)


def ask_workers(client: Client, settings: Settings, places_check: SharedPlacesCheck) -> WorkerFacts:
    """Check each worker, and return the facts of those that score.

    Raises:
        ConfigError: If a worker cannot do the work, or two workers would make different outputs.
        StoreUnavailable: If a store gives no answer.
    """
    with raise_if_closed(client):
        answers = _answers(client, settings, places_check.shared_places)
        places_check.check()
    facts = {answer: worker for worker, answer in answers.items() if answer is not None}
    if not facts:
        raise ConfigError(f"cluster: no worker that scores has answered within {_WAIT_S:g} s")
    if len(facts) > 1:
        found = "; ".join(f"{worker}: {fact}" for fact, worker in facts.items())
        raise ConfigError(f"the workers would make different outputs; use one image for all of them ({found})")
    return next(iter(facts))


def _answers(client: Client, settings: Settings, shared_places: SharedPlaces) -> dict[str, WorkerFacts | None]:
    """Return the answer of each worker, without those that left or have not answered in time."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    has_gpu = any(GPU in info["resources"] for info in workers.values())
    asked: dict[str, Future] = {}
    for worker, info in workers.items():
        kind: ScorerName | None = "litert-cpu"
        if has_gpu:
            kind = "tf-gpu" if GPU in info["resources"] else None
        resources = {GPU: 1} if kind == "tf-gpu" else None
        asked[worker] = client.submit(
            check_worker, settings, kind, shared_places, workers=[worker], resources=resources, pure=False, priority=100
        )
    answers: dict[str, WorkerFacts | None] = {}
    begun = looked_at = monotonic()
    while asked and monotonic() - begun < _WAIT_S:
        for worker in [worker for worker, future in asked.items() if future.done()]:
            answers[worker] = _answer(worker, asked.pop(worker))
        if monotonic() - looked_at > _LOOK_EVERY_S:
            looked_at, here = monotonic(), client.scheduler_info(n_workers=-1)["workers"]
            for worker in [worker for worker in asked if worker not in here]:
                log.warning("worker %s left before it answered", worker)
                asked.pop(worker).cancel()
        sleep(_TICK_S)
    for worker, future in asked.items():
        log.warning("worker %s has not answered yet; it will be checked before its first page", worker)
        future.cancel()
    return answers


def _answer(worker: str, future: Future) -> WorkerFacts | None:
    try:
        answer: WorkerFacts | None = future.result()
    except ImportError as error:
        raise ConfigError(
            f"worker {worker} lacks a package: {error}; install the same Foliopress on all workers"
        ) from error
    return answer
