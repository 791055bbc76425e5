"""S3 listing: it is read completely and in order, in every store's format, or it is refused."""

from __future__ import annotations

import re
import threading

import pytest
from botocore.parsers import create_parser
from botocore.session import get_session
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from foliopress.configs.errors import ConfigError
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.storage import s3_backend, s3_listing
from foliopress.tasks.storage.backend import InvalidResponse, StoredObject
from foliopress.tasks.storage.s3_listing import (
    START,
    ListingPosition,
    ListingResponse,
    new_objects,
    next_position,
    parse_listing,
)

LISTED = (
    "<Contents><Key>a%20b/&amp;%2B.jpg</Key><LastModified>2026-01-31T17:59:00.123Z</LastModified>"
    "<ETag>&quot;d41d&quot;</ETag><Size>12345678901</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
NAMED = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
ANSWERS = {
    "one": f"{NAMED}<Name>scans</Name>{LISTED}<IsTruncated>false</IsTruncated></ListBucketResult>",
    "more to come": f"{NAMED}<IsTruncated>true</IsTruncated>{LISTED * 3}"
    "<NextContinuationToken>1/a==</NextContinuationToken></ListBucketResult>",
    "none": f"{NAMED}<IsTruncated>false</IsTruncated></ListBucketResult>",
    "no name space": f"<ListBucketResult>{LISTED}<IsTruncated>false</IsTruncated></ListBucketResult>\n",
    "folders": f"{NAMED}{LISTED}<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes></ListBucketResult>",
    "names": f"{NAMED}<IsTruncated>false</IsTruncated>{LISTED.replace('b/', '&lt;b&apos;&amp;quot;&gt;/')}"
    "</ListBucketResult>",
    "numbers": f"{NAMED}<IsTruncated>false</IsTruncated>{LISTED.replace('b/', '&#38;&#x80;&#13;/')}</ListBucketResult>",
    "line ends": f"{NAMED}<IsTruncated>false</IsTruncated>\r\n{LISTED.replace('b/', chr(13))}\r\n</ListBucketResult>",
    "a comment": f"{NAMED}<IsTruncated>false</IsTruncated><!-- <Contents> -->{LISTED}</ListBucketResult>",
    "raw text": f"{NAMED}<Prefix><![CDATA[<Contents></Contents>]]></Prefix>{LISTED}</ListBucketResult>",
    "apart": f"{NAMED}{LISTED}<IsTruncated>true</IsTruncated>{LISTED}<Name>n</Name></ListBucketResult>",
    "an owner": f"{NAMED}{LISTED.replace('<Size>', '<Owner><ID>1</ID></Owner><Size>')}</ListBucketResult>",
    "an empty owner": f"{NAMED}<Prefix/>{LISTED.replace('<Size>', '<Owner/><Size>')}</ListBucketResult>",
    "more parts": f"{NAMED}{LISTED.replace('</Size>', '</Size><Owner><ID>1</ID></Owner><Type>Normal</Type>')}"
    f"{LISTED.replace('<Size>', '<ChecksumType>FULL_OBJECT</ChecksumType><Size>')}</ListBucketResult>",
    "another order": f"{NAMED}{LISTED.replace('<Size>12345678901</Size>', '').replace('<Key>', '<Size>1</Size><Key>')}"
    "</ListBucketResult>",
    "an attribute": f"{NAMED}{LISTED.replace('<Key>', '<Key of=' + chr(34) * 2 + '>')}</ListBucketResult>",
    "a prefix": f"{NAMED}{LISTED}</ListBucketResult>".replace("xmlns=", "xmlns:s=")
    .replace("</", "</s:")
    .replace("<", "<s:")
    .replace("<s:/s:", "</s:"),
    "the first version": f"{NAMED}<Marker/><IsTruncated>true</IsTruncated>{LISTED}</ListBucketResult>",
}


@pytest.mark.parametrize("body", [body.encode() for body in ANSWERS.values()], ids=ANSWERS)
def test_an_answer_says_what_botocore_reads_in_it(body: bytes) -> None:
    operation = get_session().get_service_model("s3").operation_model("ListObjectsV2")
    response = {"status_code": 200, "headers": {}, "body": body}
    expected = create_parser("rest-xml").parse(response, operation.output_shape)
    found = parse_listing(body)
    assert [(one.key, one.size_bytes, one.modified, one.etag) for one in found.objects] == [
        (one["Key"], one["Size"], one["LastModified"].isoformat(), one["ETag"].strip('"'))
        for one in expected.get("Contents", [])
    ]
    assert found.is_truncated == expected.get("IsTruncated")
    assert found.token == expected.get("NextContinuationToken")


@pytest.mark.parametrize(
    "told",
    [
        *("2026-01-31T17:59:00.000Z", "2026-01-31T17:59:00Z", "2026-01-31T17:59:00+02:00", "2026-01-31T17:59:00"),
        *("Sat, 31 Jan 2026 17:59:00 GMT", "1769882340"),
    ],
)
def test_times_of_every_form_are_what_botocore_reads_in_them(told: str) -> None:
    item = LISTED.replace("2026-01-31T17:59:00.123Z", told)
    [found] = parse_listing(f"{NAMED}{item}</ListBucketResult>".encode()).objects
    expected = parse_timestamp(told)
    assert found.modified == (expected.isoformat() if expected.tzinfo else f"{expected.isoformat()}+00:00")


@pytest.mark.parametrize(
    "part", ["<ETag>&quot;d41d&quot;</ETag>", "<LastModified>2026-01-31T17:59:00.123Z</LastModified>"]
)
@pytest.mark.parametrize("instead", ["", "empty"])
def test_an_object_without_an_etag_or_a_time_is_an_object(part: str, instead: str) -> None:
    name = re.findall(r"\w+", part)[0]
    item = LISTED.replace(part, f"<{name}></{name}>" if instead else "")
    [found] = parse_listing(f"{NAMED}{item}</ListBucketResult>".encode()).objects
    assert found.size_bytes == 12345678901
    assert (found.etag, found.modified) == (
        (None, "2026-01-31T17:59:00.123000+00:00") if name == "ETag" else ("d41d", "")
    )
    assert found.version == ("12345678901-2026-01-31T17:59:00.123000+00:00" if name == "ETag" else "d41d-12345678901-")


@pytest.mark.parametrize(
    ("body", "said"),
    {
        "nothing": ("", "not well-formed XML"),
        "an empty listing": ("<ListBucketResult/>", "no listing"),
        "a page of a portal": ("<html><body>Please log in</body></html>", "no listing: <html>"),
        "broken html": ("<!doctype html><p>Bad gateway<br>", "not well-formed XML"),
        "cut short": (f"{NAMED}<IsTruncated>true</IsTruncated>{LISTED}<Contents><Key>b", "not well-formed XML"),
        "no size": (f"{NAMED}{LISTED.replace('Size>', 'Sizes>')}</ListBucketResult>", "and size None"),
        "no key": (f"{NAMED}{LISTED.replace('Key>', 'Keys>')}</ListBucketResult>", "key None"),
        "a size that is none": (f"{NAMED}{LISTED.replace('12345678901', '-1')}</ListBucketResult>", "and size '-1'"),
        "a control character": (f"{NAMED}{LISTED.replace('b/', chr(1))}</ListBucketResult>", "not well-formed XML"),
        "entities": (
            f'<!DOCTYPE x [<!ENTITY e "{"a" * 99}">]>{NAMED}{LISTED.replace("b/", "&e;" * 9)}</ListBucketResult>',
            "document type",
        ),
    }.values(),
    ids=["nothing", "empty", "portal", "html", "cut", "no size", "no key", "bad size", "control", "entities"],
)
def test_what_is_no_whole_listing_is_never_taken_for_its_end(body: str, said: str) -> None:
    with pytest.raises(InvalidResponse, match=re.escape(said)):
        parse_listing(body.encode())


ENCODED = "<EncodingType>url</EncodingType>"


@pytest.mark.parametrize(
    ("keys", "is_there", "expected"),
    [
        (["a+b", "a%2Bb"], None, ["a b", "a+b"]),
        (["a%20b", "a+b"], None, ["a b", "a+b"]),
        (["x%2F%0A%01", "y%25"], None, ["x/\n\x01", "y%"]),
        (["a+b"], "a b", ["a b"]),
        (["a+b"], "a+b", ["a+b"]),
    ],
    ids=["a plus is a space", "a plus is a plus", "control", "a space is there", "a plus is there"],
)
def test_a_plus_sign_is_read_as_this_store_writes_it(
    keys: list[str], is_there: str | None, expected: list[str]
) -> None:
    items = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    asked: list[str] = []

    def looked(key: str) -> bool:
        asked.append(key)
        return key != is_there

    found = parse_listing(f"<ListBucketResult>{ENCODED}{items}</ListBucketResult>".encode(), looked)
    assert [one.key for one in found.objects] == expected
    assert asked == ([] if is_there is None else ["a+b"])


def objects(*keys: str) -> tuple[StoredObject, ...]:
    return tuple(StoredObject(key, 1, "") for key in keys)


@pytest.mark.parametrize("keys", [("b", "a"), ("a", "a"), ("a", "b", "ab"), ("\U0001f600", "\uffee")])
def test_keys_that_are_not_in_order_or_come_twice_are_refused(keys: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="order of their bytes"):
        new_objects(ListingResponse(objects(*keys), False, None, None), START)


def test_keys_that_came_before_are_refused_and_the_one_gone_on_from_may_come_again() -> None:
    assert new_objects(ListingResponse(objects("c", "d"), False, None, None), ListingPosition("c", "token")) == objects(
        "d"
    )
    with pytest.raises(ConfigError, match="order"):
        new_objects(ListingResponse(objects("b", "d"), False, None, None), ListingPosition("c", "token"))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ListingResponse(objects("a"), False, None, None), None),
        (ListingResponse(objects("a"), True, "t", None), ListingPosition("a", "t", "a")),
        (ListingResponse(objects("a"), True, None, None), ListingPosition("a", None, "a")),
        (ListingResponse(objects("a"), True, None, "b"), ListingPosition("a", None, "b")),
        (ListingResponse((), True, "t", None), ListingPosition(None, "t", None, 1)),
        (ListingResponse(objects("a"), None, None, None), ListingPosition("a", None, "a")),
        (ListingResponse((), None, None, None), None),
        (ListingResponse(objects("a"), None, "t", None), ListingPosition("a", "t", "a")),
    ],
    ids=["end", "token", "no token", "marker", "empty", "nothing said", "nothing said, nothing there", "only a token"],
)
def test_a_listing_goes_on_by_token_marker_or_last_key(
    answer: ListingResponse, expected: ListingPosition | None
) -> None:
    assert next_position(answer, START) == expected


def test_a_listing_that_says_forever_that_more_will_come_is_ended() -> None:
    with pytest.raises(InvalidResponse, match="neither a key nor a token"):
        next_position(ListingResponse((), True, None, None), START)
    with pytest.raises(InvalidResponse, match="neither a key nor a token"):
        next_position(ListingResponse((), True, None, None), ListingPosition("a", None, "a"))
    with pytest.raises(ConfigError, match="no end"):
        next_position(ListingResponse((), True, "t", None), ListingPosition("a", "t", "a"))
    place: ListingPosition | None = START
    with pytest.raises(ConfigError, match="no end"):
        for number in range(s3_listing._MOST_EMPTY + 2):
            assert place is not None
            place = next_position(ListingResponse((), True, f"t{number}", None), place)


KEYS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), unique=True, max_size=12)


@given(KEYS, st.integers(1, 4), st.booleans())
def test_any_keys_are_listed_once_each_whatever_the_size_of_the_answers(
    keys: list[str], size: int, token: bool
) -> None:
    ordered = sorted(keys, key=str.encode)
    place: ListingPosition | None = START
    found: list[str] = []
    while place is not None:
        rest = [key for key in ordered if place.after is None or key > place.after]
        answer = ListingResponse(
            objects(*rest[:size]), len(rest) > size, "t" if token and len(rest) > size else None, None
        )
        found += [one.key for one in new_objects(answer, place)]
        place = next_position(answer, place)
    assert found == ordered


def test_from_the_second_page_of_a_listing_on_the_next_is_asked_for_while_one_is_looked_at() -> None:
    asked: list[str | None] = []
    answered = threading.Event()

    def page(place: ListingPosition) -> tuple[tuple[StoredObject, ...], ListingPosition | None]:
        asked.append(place.token)
        if place.token == "3":
            answered.set()
        return (), None if place.token == "4" else ListingPosition(token=str(len(asked) + 1))

    pages = s3_backend._one_ahead(page)
    next(pages)
    assert asked == [None]  # it may be all that is wanted
    next(pages)
    assert answered.wait(10) and asked == [None, "2", "3"]
    assert len(list(pages)) == 2 and asked == [None, "2", "3", "4"]


def test_a_page_that_was_asked_for_too_early_fails_where_it_is_wanted() -> None:
    def page(place: ListingPosition) -> tuple[tuple[StoredObject, ...], ListingPosition | None]:
        if place.token == "fails":
            raise StoreUnavailable("no answer")
        return (), ListingPosition(token="fails" if place.token else "second")

    pages = s3_backend._one_ahead(page)
    next(pages), next(pages)
    with pytest.raises(StoreUnavailable, match="no answer"):
        next(pages)
