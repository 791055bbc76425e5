"""Make a DEST the payload of a BagIt bag, and invalidate the bag when the next run writes into it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import without_password
from foliopress.configs.settings import EvidenceSettings, Settings
from foliopress.flows.dest.premis_events import update_events
from foliopress.flows.run.lease import LEASE_KEY, Lease
from foliopress.flows.run.run_summary import version_of
from foliopress.flows.views.progress import megabytes
from foliopress.tasks.records import bagit
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.totals import Totals
from foliopress.tasks.storage.locations import check_place
from foliopress.tasks.storage.store import Store

_COLUMNS = (
    *("document_key", "status", "reason", "source_bytes", "output_bytes", "output_key", "output_sha256"),
    *("settings_digest", "model_digest", "duplicate_of"),
)
_NOT_IN_THE_BAG = frozenset({LEASE_KEY})  # deleted as soon as the bag is made

_NOT_OURS = (
    "is a bag, or holds tag files of one, that Foliopress did not make, and that would no longer be valid: remove "
    "them, or use another DEST"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BagMade:
    """A bag that was made."""

    bag: str
    bagit_version: str
    algorithm: str
    n_files: int
    size_bytes: int
    n_unnamed: int
    """Number of files below DEST/pages that no row names."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)

    def as_text(self) -> str:
        """Return the bag as lines of text."""
        lines = [
            f"{self.bag} is a BagIt {self.bagit_version} bag of {self.n_files} files, {megabytes(self.size_bytes)}, "
            f"with manifest-{self.algorithm}.txt"
        ]
        if self.n_unnamed:
            lines.append(
                f"it has {self.n_unnamed} files below pages/ that no row names, from a stopped run or from elsewhere; "
                "the next complete run deletes those of the stopped run"
            )
        return "\n".join(lines)


def bag_archive(url: str, settings: Settings, run_id: str, say: Callable[[str], None]) -> BagMade:
    """Make a DEST the payload of a bag; its lease is held, so that no run writes there.

    Args:
        url: Path or URL of the DEST; its last folder must be `data`.
        settings: Digest and labels of the bag (`evidence`), and storage.
        run_id: Holder of the lease.
        say: Called with a line for the user while another run holds the lease.

    Raises:
        ConfigError: If DEST is not called `data`, holds no statistics or lies in a bag of another program.
        PayloadDamaged: If an output is damaged.
        StoreUnavailable: If a store gives no answer.
    """
    check_place("DEST", url)
    bagit.bag_url(url)
    dest = Store(url, settings.storage)
    dest.check_readable()
    if next(dest.list_objects("stats/pages/"), None) is None:
        raise ConfigError(f"{without_password(url)} holds no statistics of a finished shard; there is nothing to bag")
    with Lease(dest, run_id, say) as lease:
        held = Store(url, settings.storage, lease.check)
        update_events(held, settings.evidence.events)
        return make_bag(held, settings.evidence, lease)


def make_bag(dest: Store, evidence: EvidenceSettings, lease: Lease) -> BagMade:
    """Write the tag files next to a DEST whose lease is held, replacing older ones; raises as `bag_archive` does."""
    place = Store(bagit.bag_url(dest.url), dest.storage)
    if bagit.is_made_by_us(place):
        bagit.remove_bag(place)
    elif bagit.has_tag_files(place):
        raise ConfigError(f"{without_password(place.url)} {_NOT_OURS}")
    dest.delete_partial_writes(0.0)  # the lease is held: only its own thread writes, and tries again
    totals, recipes = Totals(), set[tuple[str, str]]()
    algorithm, n_unnamed = evidence.bag_algorithm, 0
    payload = bagit.count_payload(dest, _NOT_IN_THE_BAG)
    with bagit.OutputDigests(_outputs(dest, totals, recipes)) as outputs:

        def lines() -> Iterator[tuple[str, str]]:
            nonlocal n_unnamed
            for key, digest, is_named in bagit.digests(dest, algorithm, outputs, _NOT_IN_THE_BAG, lease.check):
                n_unnamed += key.startswith("pages/") and not is_named
                yield key, digest

        info = _info(payload, _description(totals, recipes), evidence.bag_info)
        bagit.write_bag(place, payload, lines(), algorithm, info, lease.check)
    url = without_password(place.url)
    made = BagMade(url, payload.version, algorithm, payload.n_files, payload.size_bytes, n_unnamed)
    log.info("%s", made.as_text())
    return made


def invalidate_bag(dest: Store, say: Callable[[str], None] = log.info) -> None:
    """Delete the tag files of the bag whose payload is about to change, and tell the user.

    Raises:
        ConfigError: If Foliopress did not make the bag.
    """
    place = _place_of(dest)
    if place is None:
        return
    try:
        is_ours, is_bag = bagit.is_made_by_us(place), bagit.is_bag(place)
    except (PermissionError, ConfigError) as error:  # a user with access to DEST alone has made no bag around it
        log.info("cannot check whether DEST lies in a bag: %s", error)
        return
    if is_ours:
        bagit.remove_bag(place)
        url = without_password(place.url)
        say(f"{url} is no longer a bag, as its payload will change; run foliopress bag afterwards")
    elif is_bag:
        raise ConfigError(f"{without_password(place.url)} {_NOT_OURS}")


def bag_problems(dest: Store) -> list[tuple[Literal["missing", "changed"], str, str]]:
    """Return kind, key and message of each fault of the bag that a DEST is the payload of, if Foliopress made it."""
    place = _place_of(dest)
    try:
        if place is None or not bagit.is_made_by_us(place):
            return []
        keys = {found.key for found in dest.list_objects()} - _NOT_IN_THE_BAG
        found = list(bagit.tag_problems(place, keys))
    except (PermissionError, ConfigError):  # a user with access to DEST alone
        return []
    payload = f"{bagit.PAYLOAD}/"
    return [
        (kind, name.removeprefix(payload) if name.startswith(payload) else f"../{name}", message)
        for kind, name, message in found
    ]


def read_bag_info(dest: Store) -> dict[str, str] | None:
    """Return the bag-info.txt of the bag that a DEST is the payload of, by label; None if there is no bag."""
    place = _place_of(dest)
    try:
        return (bagit.read_info(place) or {}) if place is not None and bagit.is_bag(place) else None
    except (PermissionError, ConfigError):
        return None


def _place_of(dest: Store) -> Store | None:
    try:
        return Store(bagit.bag_url(dest.url), dest.storage)
    except ConfigError:  # its folder has another name
        return None


def _outputs(dest: Store, totals: Totals, recipes: set[tuple[str, str]]) -> Iterator[tuple[str, str, int]]:
    """Yield key, digest and size of the output of each row, and add up totals on the way."""
    last: object = None
    for row in live_rows(dest, "pages", _COLUMNS):
        totals.add(row, is_new_document=row["document_key"] != last)
        last = row["document_key"]
        recipes.add((str(row["settings_digest"]), str(row["model_digest"])))
        if row["output_key"] is not None:
            yield str(row["output_key"]), str(row["output_sha256"]), int(str(row["output_bytes"]))


def _description(totals: Totals, recipes: set[tuple[str, str]]) -> str:
    made_by = "; ".join(f"settings {settings}, model {model}" for settings, model in sorted(recipes))
    return (
        f"Scans compressed by Foliopress: {totals.documents} documents, {totals.pages} pages ({totals.compressed} "
        f"compressed, {totals.kept} kept, {totals.failed} failed), {totals.source_bytes} bytes before and "
        f"{totals.output_bytes} after; {made_by}"
    )


def _info(payload: bagit.Payload, description: str, further: Sequence[str]) -> list[tuple[str, str]]:
    """Return the lines of bag-info.txt: the user's, then the computed ones whose labels the user did not give."""
    found = {
        "Bagging-Date": f"{datetime.now(UTC):%Y-%m-%d}",
        "Bag-Software-Agent": f"{bagit.AGENT} {version_of('foliopress')}",
        "Payload-Oxum": f"{payload.size_bytes}.{payload.n_files}",
        "Bag-Size": megabytes(payload.size_bytes),
        "External-Description": description,
    }
    asked = [(label, value.strip()) for label, _, value in (line.partition(":") for line in further)]
    labels = {label.lower() for label, _ in asked}
    return asked + [(label, value) for label, value in found.items() if label.lower() not in labels]
