"""The flows as a Prefect server knows them: parameters that can be written down, checked and shown as a form."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from foliopress.deployments.alert import alert
from foliopress.deployments.form import Changes, Profile, settings_of
from foliopress.deployments.run_names import named
from foliopress.deployments.run_progress import show_log
from foliopress.flows.compress import SHARD_RUNNER, compress_documents
from foliopress.flows.estimate import estimate_archive
from foliopress.flows.verify import verify_archive
from foliopress.tasks.storage.locations import check_place


class Damaged(Exception):
    """A verification found damage; its artifact and log tell what."""


class PagesFailed(Exception):
    """The run ended, and pages of DEST are failed; it is an error where `fail_on_failed_pages` says so."""


@flow(
    name="compress",
    flow_run_name=named("{source} with {profile}"),
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
    """Compress all documents of SOURCE into DEST; a rerun does only what is missing.

    Args:
        source: Path or URL of the scans (file, s3, …); never written to.
        dest: Path or URL of the output.
        profile: What is asked of the output.
        changes: Settings that differ from the profile's; what is left empty stays as the profile says.
        retry_failed: Do failed pages again.
        deep: Read and hash all that earlier runs have written, and do again the shards of what has changed.
        overwrite: Replace pages that other settings or another model made.
        fail_on_failed_pages: Let the run count as failed while DEST has failed pages.
    """
    show_log()
    check_place("SOURCE", source)
    check_place("DEST", dest)
    settings = settings_of(profile, changes)
    summary = compress_documents(source, dest, settings, retry_failed=retry_failed, overwrite=overwrite, deep=deep)
    if fail_on_failed_pages and summary.whole.failed:
        raise PagesFailed(f"{summary.whole.failed} pages failed: {'; '.join(summary.failed_pages[:3])}")


@flow(
    name="estimate",
    flow_run_name=named("estimate {source} with {profile}"),
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
    """Work out what compressing SOURCE would save and take, from a sample of it; nothing is kept.

    Args:
        source: Path or URL of the scans (file, s3, …); never written to.
        profile: What is asked of the output.
        changes: Settings that differ from the profile's; what is left empty stays as the profile says.
        documents: How many documents to try, about.
        seed: The same seed tries the same documents.
        cores: For how many cores the hours are worked out.
        price_per_gb_month: Of storage, in any currency.
    """
    show_log()
    check_place("SOURCE", source)  # before a flow below this one is named after it
    settings = settings_of(profile, changes)
    found = estimate_archive(
        source, settings, sample=documents, seed=seed, cores=cores, price_per_gb_month=price_per_gb_month
    )
    _put_up("foliopress-estimate", found.as_text(), f"What compressing {source} would give and take")


@flow(
    name="verify",
    flow_run_name=named("verify {dest}"),
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
    """Read, hash and decode every output of DEST again; the run fails if anything is damaged.

    Args:
        dest: Path or URL of the output of earlier runs.
        source: The scans; if given, each document there must have rows in DEST.
        look: Compare each compressed page with its scan in `source` again, through other decoders.
        changes: How storage and cluster are reached, where it is not as usual.
    """
    show_log()
    check_place("DEST", dest)
    if source is not None:
        check_place("SOURCE", source)
    found = verify_archive(dest, settings_of("access", changes), source=source, look=look)
    _put_up("foliopress-verification", found.as_text(), f"What was found in {dest}")
    if not found.is_sound:
        raise Damaged(found.as_text())


def _put_up(key: str, text: str, description: str) -> None:
    """Show a report in the Prefect UI, its lines as they are, whatever keys stand in them."""
    create_markdown_artifact(f"````\n{text}\n````", key=key, description=description)
