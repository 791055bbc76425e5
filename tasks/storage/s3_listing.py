"""Listing: what S3's answer to a request for keys says, and where the next request goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus
from xml.parsers import expat

from foliopress.tasks.errors import ConfigError
from foliopress.tasks.storage.backend import InvalidResponse, StoredObject

_ROOT = "ListBucketResult"
_SPACE_ENDS = "}"
_MOST_EMPTY = 10_000
"""Answers without a key that may follow each other; deleted versions of objects bring some."""


@dataclass(frozen=True)
class ListingResponse:
    """One answer, as it stands.

    Keys are those in the bucket, whole. `is_truncated` is None where the store does not say whether more is to come.
    `token` belongs to the second version of the request, `marker` to the first.
    """

    objects: tuple[StoredObject, ...]
    is_truncated: bool | None
    token: str | None
    marker: str | None


class ListingPosition(NamedTuple):
    """Where a listing goes on: behind the last key that came, and with the token that the store gave for that."""

    after: str | None = None
    token: str | None = None
    marker: str | None = None
    n_empty: int = 0


START = ListingPosition()

PlusIsSpace = Callable[[str], bool]
"""Told a key as it would be if `+` were a plus sign; says whether it is a space."""


def parse_listing(body: bytes, plus_is_space: PlusIsSpace = lambda _: True) -> ListingResponse:
    """Read an answer to ListObjects or ListObjectsV2.

    Servers that write a space as `+` write a plus sign as `%2B`; others write a space as `%20` and leave the plus sign.
    Where an answer does not show which it is, `plus_is_space` is asked.

    Raises:
        InvalidResponse: If it is no listing, or not a whole one.

    >>> xml = b"<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>"
    >>> parse_listing(xml).objects
    (StoredObject(key='a', size_bytes=1, modified='', etag=None),)
    """
    parts = _Parts()
    try:
        parts.read(body)
    except (expat.ExpatError, ValueError) as error:
        raise InvalidResponse(f"the listing is no whole XML ({error})") from error
    if parts.root != _ROOT or (not parts.whole and not parts.objects):  # an empty one would pass for the end
        raise InvalidResponse(f"the answer is no listing: <{parts.root}> with {len(parts.whole)} parts")
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
    """The texts of a listing's elements, by their names without name space: those of each object, and all others.

    There may be millions of objects, and ElementTree takes half as long again.
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
    """Names without their name space, by those with it."""

    def __missing__(self, name: str) -> str:
        local = self[name] = name.rpartition(_SPACE_ENDS)[2]
        return local


def _refuse_type(*_: object) -> None:
    # no store sends one; it could name files, or grow without end
    raise InvalidResponse("the listing has a document type, which no listing has")


def _object(parts: dict[str, str], text_of: Callable[[str], str]) -> StoredObject:
    key, size = parts.get("Key"), parts.get("Size")
    if not key or size is None or not size.isdecimal():
        raise InvalidResponse(f"the listing tells an object's key as {key!r} and its size as {size!r}")
    when = parts.get("LastModified")
    return StoredObject(text_of(key), int(size), _time_of(when) if when else "", bare_etag(parts.get("ETag")))


def bare_etag(etag: str | None) -> str | None:
    """Return an ETag without its quotes; None where there is none, or an empty one.

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
    """Return a time in one form, in which `…000Z` and `…Z` are the same; as it stands if it is none.

    >>> _time_of("2026-01-31T17:59:00.000Z"), _time_of("Sat, 31 Jan 2026 17:59:00 GMT"), _time_of("1769882340")
    ('2026-01-31T17:59:00+00:00', '2026-01-31T17:59:00+00:00', '2026-01-31T17:59:00+00:00')
    """
    if len(text) == 24 and text.endswith(".000Z"):  # as most stores write it, and there may be millions
        return text[:19] + "+00:00"
    for reader in (datetime.fromisoformat, parsedate_to_datetime, lambda one: datetime.fromtimestamp(float(one), UTC)):
        try:
            found = reader(text)
        except (ValueError, TypeError, OverflowError, OSError):
            continue
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()
    return text


def new_objects(answer: ListingResponse, place: ListingPosition) -> tuple[StoredObject, ...]:
    """Return what an answer holds behind its place; the key there may come once more, as some stores count it in.

    Raises:
        ConfigError: If keys are not in order, or come twice.
    """
    objects = answer.objects
    if objects and objects[0].key == place.after:
        objects = objects[1:]
    before = place.after
    for key in [found.key for found in objects]:
        if before is not None and key <= before:  # letters sort as their UTF-8 does
            raise ConfigError(
                f"the store lists {key!r} after {before!r}, and Foliopress needs keys once each and in the order of "
                "their bytes; copy what lies there to a store that lists in order (S3's directory buckets do not)"
            )
        before = key
    return objects


def is_going_back(answer: ListingResponse, place: ListingPosition) -> bool:
    """Return whether an answer begins before its place, or ends there: the store has not gone on."""
    if place.after is None or not answer.objects:
        return False
    first, last = answer.objects[0].key, answer.objects[-1].key
    return first < place.after or (answer.is_truncated is True and last == place.after)


def next_position(answer: ListingResponse, place: ListingPosition) -> ListingPosition | None:
    """Return where the listing goes on behind an answer to a request at `place`; None if that was all.

    Raises:
        ConfigError: If the store goes round in circles.
        InvalidResponse: If more is to come and nothing says from where.
    """
    is_last = answer.is_truncated is False
    if answer.is_truncated is None:  # where nothing is said, one request more tells
        is_last = not answer.token and not answer.marker and not answer.objects
    if is_last:
        return None
    after = answer.objects[-1].key if answer.objects else place.after
    marker = max(filter(None, (answer.marker, after)), default=None)
    n_empty = 0 if answer.objects else place.n_empty + 1
    following = ListingPosition(after, answer.token, marker, n_empty)
    if not answer.objects:
        if answer.token is None and marker in (None, place.marker):
            raise InvalidResponse("the listing is to go on, and came with neither a key nor a token to go on from")
        if (answer.token, marker) == (place.token, place.marker) or n_empty > _MOST_EMPTY:
            raise ConfigError("the store's listing has no end: it says again and again that more will come")
    return following
