"""Facts: what the workers say of themselves before the first page, and whether they can do the work."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING

from foliopress.configs.settings import Settings
from foliopress.flows.cluster.cluster import GPU, lost_if_closed
from foliopress.flows.cluster.shared_places import Lookout, Sight, own_versions, prove
from foliopress.model.scoring import ScorerName
from foliopress.tasks.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Client, Future

_WAIT_S = 120.0
"""Seconds to wait for workers that have other work; a worker that answers later is checked with its first page."""
_TICK_S, _LOOK_EVERY_S = 0.01, 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker that scores says of itself."""

    scorer: ScorerName
    model_digest: str
    tesseract: str


def check_worker(settings: Settings, kind: ScorerName | None, sight: Sight) -> WorkerFacts | None:
    """Run on a worker: see that it has all that it needs.

    Args:
        settings: Of the run.
        kind: How it is to score; None if it is not.
        sight: What it must see.

    Returns:
        What scores there, and reads; None from a worker that does not score.

    Raises:
        ConfigError: If it sees other places than the driver, or the model, Tesseract's languages or its folder for
            temporary files cannot be used there.
        StoreUnavailable: If a store gives no answer.
    """
    from foliopress.flows.host.host_checks import check_temporary_folder
    from foliopress.model.scoring import load_scorer
    from foliopress.tasks.codecs.encode import require

    check_temporary_folder()
    prove(sight, settings.storage, settings.ocr)
    require(settings.encode.codec)
    tesseract = dict(own_versions(settings.ocr))["tesseract"]
    if kind is None:
        return None
    scorer = load_scorer(settings.importance.model, kind)
    return WorkerFacts(scorer.name, scorer.digest, tesseract)


def ask_workers(client: Client, settings: Settings, lookout: Lookout) -> WorkerFacts:
    """Have each worker checked, and return the facts of those that score.

    Raises:
        ConfigError: If a worker cannot do the work, or two would make different outputs.
        StoreUnavailable: If a store gives no answer.
    """
    with lost_if_closed(client):
        answers = _answers(client, settings, lookout.sight)
        lookout.check()
    facts = {told: worker for worker, told in answers.items() if told is not None}
    if not facts:
        raise ConfigError(f"cluster: no worker that scores has answered within {_WAIT_S:g} s")
    if len(facts) > 1:
        told = "; ".join(f"{worker}: {fact}" for fact, worker in facts.items())
        raise ConfigError(f"the workers would make different outputs; use one image for all of them ({told})")
    return next(iter(facts))


def _answers(client: Client, settings: Settings, sight: Sight) -> dict[str, WorkerFacts | None]:
    """Return what each worker answered, but for those that went meanwhile or have not got round to it."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    has_gpu = any(GPU in told["resources"] for told in workers.values())
    asked: dict[str, Future] = {}
    for worker, told in workers.items():
        kind: ScorerName | None = "litert-cpu"
        if has_gpu:
            kind = "tf-gpu" if GPU in told["resources"] else None
        resources = {GPU: 1} if kind == "tf-gpu" else None
        asked[worker] = client.submit(
            check_worker, settings, kind, sight, workers=[worker], resources=resources, pure=False, priority=100
        )
    answers: dict[str, WorkerFacts | None] = {}
    begun = looked_at = monotonic()
    while asked and monotonic() - begun < _WAIT_S:
        for worker in [worker for worker, future in asked.items() if future.done()]:
            answers[worker] = _answer(worker, asked.pop(worker))
        if monotonic() - looked_at > _LOOK_EVERY_S:
            looked_at, here = monotonic(), client.scheduler_info(n_workers=-1)["workers"]
            for worker in [worker for worker in asked if worker not in here]:
                log.warning("worker %s went before it had answered", worker)
                asked.pop(worker).cancel()
        sleep(_TICK_S)
    for worker, future in asked.items():
        log.warning("worker %s has not answered yet; it is looked at before its first page", worker)
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
