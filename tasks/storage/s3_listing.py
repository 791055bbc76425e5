"""Parse S3's responses to ListObjects and ListObjectsV2, and derive the position of the next request.

botocore's own parser is not used: it parses each response twice and takes a missing element for the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus
from xml.parsers import expat

from foliopress.configs.errors import ConfigError
from foliopress.tasks.storage.backend import InvalidResponse, StoredObject

_ROOT = "ListBucketResult"
_SPACE_ENDS = "}"
_MOST_EMPTY = 10_000
"""Most consecutive responses without a key; deleted versions of objects cause some."""


@dataclass(frozen=True)
class ListingResponse:
    """One response.

    Keys are the bucket's, with any prefix. `is_truncated` is None if the store does not say whether more objects
    follow. `token` belongs to ListObjectsV2, `marker` to ListObjects.
    """

    objects: tuple[StoredObject, ...]
    is_truncated: bool | None
    token: str | None
    marker: str | None


class ListingPosition(NamedTuple):
    """Position in a listing: the last key received, and the store's token or marker for continuing."""

    after: str | None = None
    token: str | None = None
    marker: str | None = None
    n_empty: int = 0


START = ListingPosition()

PlusIsSpace = Callable[[str], bool]
"""Called with a key in which `+` is read as a plus sign; returns whether it is a space."""


def parse_listing(body: bytes, plus_is_space: PlusIsSpace = lambda _: True) -> ListingResponse:
    """Parse a response to ListObjects or ListObjectsV2.

    Servers that write a space as `+` write a plus sign as `%2B`; others write a space as `%20` and leave the plus sign.
    If a response does not show which, `plus_is_space` decides.

    Raises:
        InvalidResponse: If it is no listing, or an incomplete one.

    >>> xml = b"<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>"
    >>> parse_listing(xml).objects
    (StoredObject(key='a', size_bytes=1, modified='', etag=None),)
    """
    parts = _Parts()
    try:
        parts.read(body)
    except (expat.ExpatError, ValueError) as error:
        raise InvalidResponse(f"the listing is not well-formed XML ({error})") from error
    if parts.root != _ROOT or (not parts.whole and not parts.objects):  # an empty one would pass for the end
        raise InvalidResponse(f"the response is no listing: <{parts.root}> with {len(parts.whole)} elements")
    text_of = _decoder(body, parts, plus_is_space)
    said = parts.whole.get("IsTruncated", "").strip().lower()
    marker = parts.whole.get("NextMarker")
    return ListingResponse(
        tuple(_object(one, text_of) for one in parts.objects),
        None if said not in ("true", "false") else said == "true",
        parts.whole.get("NextContinuationToken") or None,
        text_of(marker) if marker else None,
    )


class _Parts:
    """Texts of a listing's elements by local name: those of each object, and all others.

    There may be millions of objects, and ElementTree takes half as long again as expat.
    """

    def __init__(self) -> None:
        self.root = ""
        self.whole: dict[str, str] = {}
        self.objects: list[dict[str, str]] = []

    def read(self, body: bytes) -> None:
        local_names = _LocalNames()
        text = ""
        is_object = False
        parts: dict[str, str] = {}

        def start(name: str, _: dict[str, str]) -> None:
            nonlocal text, is_object, parts
            text = ""
            local = local_names[name]
            if not self.root:
                self.root = local
            elif local == "Contents":
                is_object, parts = True, {}

        def add(data: str) -> None:
            nonlocal text
            text += data

        def end(name: str) -> None:
            nonlocal is_object
            local = local_names[name]
            if local == "Contents":
                is_object = False
                self.objects.append(parts)
            elif is_object:
                parts[local] = text
            elif local != self.root:
                self.whole[local] = text

        parser = expat.ParserCreate("utf-8", _SPACE_ENDS)
        parser.buffer_text = True
        parser.StartElementHandler, parser.CharacterDataHandler, parser.EndElementHandler = start, add, end
        parser.StartDoctypeDeclHandler = _refuse_type
        parser.Parse(body, True)


class _LocalNames(dict[str, str]):
    """Local names by qualified names."""

    def __missing__(self, name: str) -> str:
        local = self[name] = name.rpartition(_SPACE_ENDS)[2]
        return local


def _refuse_type(*_: object) -> None:
    # no store sends one; it could refer to files, or expand without limit
    raise InvalidResponse("the listing has a document type declaration, which no store sends")


def _object(parts: dict[str, str], text_of: Callable[[str], str]) -> StoredObject:
    key, size = parts.get("Key"), parts.get("Size")
    if not key or size is None or not size.isdecimal():
        raise InvalidResponse(f"the listing has an object with key {key!r} and size {size!r}")
    when = parts.get("LastModified")
    return StoredObject(text_of(key), int(size), _time_of(when) if when else "", bare_etag(parts.get("ETag")))


def bare_etag(etag: str | None) -> str | None:
    """Return an ETag without its quotes; None if it is missing or empty.

    >>> bare_etag('"d41d"'), bare_etag('W/"d41d"'), bare_etag('""'), bare_etag(None)
    ('d41d', 'd41d', None, None)
    """
    return etag.strip().removeprefix("W/").strip('"') or None if etag else None


def _decoder(body: bytes, parts: _Parts, plus_is_space: PlusIsSpace) -> Callable[[str], str]:
    if parts.whole.get("EncodingType") != "url":
        return lambda text: text
    if b"+" not in body or b"%2B" in body or b"%2b" in body:
        return _unquoted_plus
    if b"%20" in body:
        return unquote
    first = next((key for key in (one.get("Key", "") for one in parts.objects) if "+" in key), None)
    return _unquoted_plus if first is None or plus_is_space(unquote(first)) else unquote


def _unquoted_plus(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def _time_of(text: str) -> str:
    """Return a time in one format, so that `…000Z` and `…Z` are equal; unchanged if it cannot be parsed.

    >>> _time_of("2026-01-31T17:59:00.000Z"), _time_of("Sat, 31 Jan 2026 17:59:00 GMT"), _time_of("1769882340")
    ('2026-01-31T17:59:00+00:00', '2026-01-31T17:59:00+00:00', '2026-01-31T17:59:00+00:00')
    """
    if len(text) == 24 and text.endswith(".000Z"):  # the format of most stores, and there may be millions
        return text[:19] + "+00:00"
    for reader in (datetime.fromisoformat, parsedate_to_datetime, lambda one: datetime.fromtimestamp(float(one), UTC)):
        try:
            found = reader(text)
        except (ValueError, TypeError, OverflowError, OSError):
            continue
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()
    return text


def new_objects(answer: ListingResponse, place: ListingPosition) -> tuple[StoredObject, ...]:
    """Return a response's objects after its position; some stores repeat the key at the position.

    Raises:
        ConfigError: If keys are out of order or repeated.
    """
    objects = answer.objects
    if objects and objects[0].key == place.after:
        objects = objects[1:]
    before = place.after
    for key in [found.key for found in objects]:
        if before is not None and key <= before:  # text sorts as its UTF-8
            raise ConfigError(
                f"the store lists {key!r} after {before!r}, and Foliopress needs keys once each and in the order of "
                "their bytes; copy the objects to a store that lists in order (S3's directory buckets do not)"
            )
        before = key
    return objects


def is_going_back(answer: ListingResponse, place: ListingPosition) -> bool:
    """Return whether a response begins before its position or ends at it: the store has not continued."""
    if place.after is None or not answer.objects:
        return False
    first, last = answer.objects[0].key, answer.objects[-1].key
    return first < place.after or (answer.is_truncated is True and last == place.after)


def next_position(answer: ListingResponse, place: ListingPosition) -> ListingPosition | None:
    """Return the position after a response to a request at `place`; None at the end.

    Raises:
        ConfigError: If the store repeats itself without end.
        InvalidResponse: If more objects follow but no position is given.
    """
    is_last = answer.is_truncated is False
    if answer.is_truncated is None:  # one more request shows whether this was the end
        is_last = not answer.token and not answer.marker and not answer.objects
    if is_last:
        return None
    after = answer.objects[-1].key if answer.objects else place.after
    marker = max(filter(None, (answer.marker, after)), default=None)
    n_empty = 0 if answer.objects else place.n_empty + 1
    following = ListingPosition(after, answer.token, marker, n_empty)
    if not answer.objects:
        if answer.token is None and marker in (None, place.marker):
            raise InvalidResponse("the listing is truncated, but has neither a key nor a token to continue from")
        if (answer.token, marker) == (place.token, place.marker) or n_empty > _MOST_EMPTY:
            raise ConfigError("the store's listing has no end: it announces more objects again and again")
    return following
