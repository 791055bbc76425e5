"""Define the flows that a Prefect server schedules, with parameters that it can store, validate and show."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.utilities.annotations import quote

from foliopress.deployments.alert import alert
from foliopress.deployments.form import Changes, Profile, settings_of
from foliopress.deployments.run_names import run_name
from foliopress.deployments.run_progress import show_log
from foliopress.flows.compress import SHARD_RUNNER, compress_documents
from foliopress.flows.estimate import EstimateRequest, estimate_archive
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.verify import verify_archive
from foliopress.tasks.storage.locations import check_place


class Damaged(Exception):
    """A verification found damage; the artifact and the log list it."""


class PagesFailed(Exception):
    """The run ended and DEST has failed pages; raised only with `fail_on_failed_pages`."""


@flow(
    name="compress",
    flow_run_name=run_name("{source} with {profile}"),
    task_runner=SHARD_RUNNER,  # type: ignore[arg-type]
    persist_result=False,
    on_failure=[alert],
    on_crashed=[alert],
)
def compress(
    source: str,
    dest: str,
    profile: Profile = "access",
    changes: Changes = Changes(),  # type: ignore[valid-type]  # noqa: B008 - frozen
    retry_failed: bool = False,
    deep: bool = False,
    overwrite: bool = False,
    fail_on_failed_pages: bool = False,
) -> None:
    """Compress all documents in SOURCE into DEST. A rerun does only what is missing.

    Args:
        source: Path or URL of the scans (file, s3, …); never written to.
        dest: Path or URL of the output.
        profile: Profile of settings.
        changes: Settings that differ from the profile; an empty field keeps the profile's value.
        retry_failed: Retry failed pages.
        deep: Read and hash every file in DEST, and redo what has changed.
        overwrite: Replace pages that other settings or another model made.
        fail_on_failed_pages: Mark the run as failed while DEST has failed pages.
    """
    show_log()
    check_place("SOURCE", source)
    check_place("DEST", dest)
    settings = settings_of(profile, changes)
    summary = compress_documents(RunRequest(source, dest, settings, retry_failed, overwrite, deep))
    if fail_on_failed_pages and summary.whole.failed:
        raise PagesFailed(f"{summary.whole.failed} pages failed: {'; '.join(summary.failed_pages[:3])}")


@flow(
    name="estimate",
    flow_run_name=run_name("estimate {source} with {profile}"),
    persist_result=False,
    on_failure=[alert],
    on_crashed=[alert],
)
def estimate(
    source: str,
    profile: Profile = "access",
    changes: Changes = Changes(),  # type: ignore[valid-type]  # noqa: B008 - frozen
    documents: int = 100,
    seed: int = 0,
    cores: int = 1,
    price_per_gb_month: float = 0.023,
) -> None:
    """Estimate the savings and time of compressing SOURCE by compressing a sample. No output is kept.

    Args:
        source: Path or URL of the scans (file, s3, …); never written to.
        profile: Profile of settings.
        changes: Settings that differ from the profile; an empty field keeps the profile's value.
        documents: Approximate number of documents to sample.
        seed: Random seed of the sample.
        cores: CPU cores to estimate hours for.
        price_per_gb_month: Storage price per GB and month, in any currency.
    """
    show_log()
    check_place("SOURCE", source)  # before a subflow is named after it
    settings = settings_of(profile, changes)
    request: Any = quote(EstimateRequest(source, settings, documents, seed, cores, price_per_gb_month))
    found = estimate_archive(request)
    _publish("foliopress-estimate", found.as_text(), f"Estimated savings and time of compressing {source}")


@flow(
    name="verify",
    flow_run_name=run_name("verify {dest}"),
    persist_result=False,
    on_failure=[alert],
    on_crashed=[alert],
)
def verify(
    dest: str,
    source: str | None = None,
    look: bool = False,
    changes: Changes = Changes(),  # type: ignore[valid-type]  # noqa: B008 - frozen
) -> None:
    """Read, hash and decode every output in DEST; the run fails if anything is damaged.

    Args:
        dest: Path or URL of a DEST that earlier runs wrote.
        source: Path or URL of the scans; if given, each document there must have rows in DEST.
        look: Compare each compressed page with its scan in `source`, using independent decoders.
        changes: Settings of storage and cluster that differ from the defaults.
    """
    show_log()
    check_place("DEST", dest)
    if source is not None:
        check_place("SOURCE", source)
    found = verify_archive(dest, settings_of("access", changes), source=source, look=look)
    _publish("foliopress-verification", found.as_text(), f"Findings in {dest}")
    if not found.is_sound:
        raise Damaged(found.as_text())


def _publish(key: str, text: str, description: str) -> None:
    """Show a report in the Prefect UI, verbatim, as keys of documents may contain Markdown."""
    create_markdown_artifact(f"````\n{text}\n````", key=key, description=description)
