"""Finished pages: what a page came to, and where those of a long document wait until it is put together.

They wait below DEST/work: a run that was killed finds them again, and no worker has to hold all of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass, field
from typing import Any

from foliopress.tasks.codecs.encode import Codec
from foliopress.tasks.errors import RETRIED_REASONS, PageError
from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.storage.store import Store

WORK = "work/"
LONG_DOCUMENT_PAGES = 32
"""From which on finished pages are parked: fewer are soon done again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedPage:
    """An encoded page that passed its check, or the problem that keeps it from being one."""

    page_index: int
    problem: PageError | None
    data: bytes | None = field(repr=False)
    codec: Codec | None
    figures: dict[str, object] = field(repr=False)
    words: list[dict[str, object]] = field(repr=False)
    tiles: dict[str, object] | None = field(repr=False)
    text: tuple[Word, ...] = field(default=(), repr=False)
    """What is written below DEST/text, boxes in the source's pixels; nothing where no text is asked for."""
    parked: str | None = None
    """Key of what waits below DEST/work: the page's bytes, words and tiles, which are not held here then."""
    n_bytes: int = 0
    """Of the page that waits there."""

    @property
    def size_bytes(self) -> int:
        """Bytes of the encoded page."""
        return self.n_bytes if self.parked else len(self.data or b"")


def place_of(shard_id: str, document_key: str, sha256: str) -> str:
    """Return the prefix, ending in a slash, below which the pages of a document in this version are parked."""
    digest = hashlib.sha256(document_key.encode("utf-8", "surrogatepass") + sha256.encode()).hexdigest()
    return f"{WORK}{shard_id}/{digest[:24]}/"


def park(page: FinishedPage, dest: Store, place: str) -> FinishedPage:
    """Write a finished page, and return what is left to hold: its figures.

    One that a rerun may do better, or that failed, is returned as it is.
    """
    problem = page.problem
    if problem is not None and (problem.failed or problem.reason in RETRIED_REASONS):
        return page
    told = dataclasses.asdict(dataclasses.replace(page, problem=None, data=None))
    told["problem"] = [problem.reason, problem.message] if problem else None
    head = json.dumps(told, default=_plain).encode()
    key = f"{place}{page.page_index + 1:06d}"
    dest.write_bytes(key, len(head).to_bytes(8, "big") + head + (page.data or b""))
    return _light(page, key)


def find_parked(dest: Store, place: str, page_index: int) -> FinishedPage | None:
    """Return the page that an earlier run parked, without what `unpark` brings back; None if there is none."""
    key = f"{place}{page_index + 1:06d}"
    try:
        page = _read(dest, key)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s); its page is done again", key, error)
        return None
    return _light(page, key)


def unpark(page: FinishedPage, dest: Store) -> FinishedPage:
    """Return a page with all that was parked of it."""
    return page if page.parked is None else _read(dest, page.parked)


def clear(dest: Store, shard_id: str = "") -> None:
    """Delete what a shard has parked, or all shards."""
    for found in list(dest.list_objects(f"{WORK}{shard_id}/" if shard_id else WORK)):
        dest.delete(found.key)


def _light(page: FinishedPage, key: str) -> FinishedPage:
    n_bytes = len(page.data or b"")
    return dataclasses.replace(page, data=None, n_bytes=n_bytes, words=[], tiles=None, text=(), parked=key)


def _read(dest: Store, key: str) -> FinishedPage:
    content = dest.read_bytes(key)
    size = int.from_bytes(content[:8], "big")
    told = json.loads(content[8 : 8 + size])
    problem = PageError(*told["problem"]) if told["problem"] else None
    text = tuple(Word(**word) for word in told["text"])
    return FinishedPage(**told | {"problem": problem, "text": text, "data": content[8 + size :] or None})


def _plain(value: Any) -> Any:
    return value.item()  # numpy's numbers
