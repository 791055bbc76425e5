"""Save the finished pages of a long document below DEST/work until the document is assembled.

A run that was killed finds them again, and no worker has to hold all of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from foliopress.flows.steps.finished_page import CheckpointedPage, FinishedPage, PageResult
from foliopress.flows.steps.page_metrics import PageMetrics
from foliopress.tasks.codecs.encode import Codec
from foliopress.tasks.errors import RETRIED_REASONS, PageError
from foliopress.tasks.fit.outcome import EncodedPage
from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.records.rows import TileRow, WordRow
from foliopress.tasks.storage.store import Store

WORK = "work/"
LONG_DOCUMENT_PAGES = 32
"""Documents with at least this many pages have checkpoints; shorter ones are soon processed again."""

_FORMAT = 2
"""Version of the checkpoints' content; those of another version are ignored."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Head:
    """Content of a checkpoint before the bytes of the encoding."""

    format: int
    page_index: int
    problem: tuple[str, str] | None
    codec: Codec | None
    metrics: PageMetrics
    words: tuple[WordRow, ...]
    tiles: TileRow | None
    text: tuple[Word, ...]


def place_of(shard_id: str, document_key: str, sha256: str) -> str:
    """Return the prefix, ending in a slash, of the checkpoints of this version of a document."""
    digest = hashlib.sha256(document_key.encode("utf-8", "surrogatepass") + sha256.encode()).hexdigest()
    return f"{WORK}{shard_id}/{digest[:24]}/"


def save(page: FinishedPage, dest: Store, place: str) -> PageResult:
    """Write the checkpoint of a finished page, and return the part of the page to hold.

    A page that failed, or that a rerun tries again, is returned as it is.
    """
    problem = page.problem
    if problem is not None and (problem.failed or problem.reason in RETRIED_REASONS):
        return page
    head = _Head(
        format=_FORMAT,
        page_index=page.page_index,
        problem=(problem.reason, problem.message) if problem else None,
        codec=page.codec,
        metrics=page.metrics,
        words=page.words,
        tiles=page.tiles,
        text=page.text,
    )
    content = json.dumps(asdict(head), default=_as_plain_number).encode()
    key = _key(place, page.page_index)
    dest.write_bytes(key, len(content).to_bytes(8, "big") + content + (page.data or b""))
    return _without_content(page, key)


def find(dest: Store, place: str, page_index: int) -> CheckpointedPage | None:
    """Return the page of which an earlier run saved a checkpoint; None if there is none that can be read."""
    key = _key(place, page_index)
    try:
        return _without_content(_read(dest, key), key)
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s cannot be read (%s); its page is processed again", key, next(iter(str(error).splitlines()), ""))
        return None


def load(page: PageResult, dest: Store) -> FinishedPage:
    """Return a page with its encoding, words, tiles and text."""
    return page if isinstance(page, FinishedPage) else _read(dest, page.key)


def clear(dest: Store, shard_id: str = "") -> None:
    """Delete the checkpoints of a shard, or of all shards."""
    for found in list(dest.list_objects(f"{WORK}{shard_id}/" if shard_id else WORK)):
        dest.delete(found.key)


def _key(place: str, page_index: int) -> str:
    return f"{place}{page_index + 1:06d}"


def _without_content(page: FinishedPage, key: str) -> CheckpointedPage:
    return CheckpointedPage(page.page_index, page.problem, page.codec, page.size_bytes, page.metrics, key)


def _read(dest: Store, key: str) -> FinishedPage:
    """Return the page of a checkpoint.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is cut off, or of another version.
    """
    content = dest.read_bytes(key)
    size = int.from_bytes(content[:8], "big")
    values = json.loads(content[8 : 8 + size])
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise ValueError("another version of Foliopress wrote it")
    head = _head_type().validate_python(values)
    problem = PageError(*head.problem) if head.problem else None
    encoded = EncodedPage(content[8 + size :], head.codec) if head.codec else None
    return FinishedPage(head.page_index, problem, encoded, head.metrics, head.words, head.tiles, head.text)


@lru_cache(maxsize=1)
def _head_type() -> TypeAdapter[_Head]:
    return TypeAdapter(_Head)


def _as_plain_number(value: Any) -> Any:
    return value.item()  # a NumPy scalar
