"""Test that the rows of a document give one PREMIS event."""

import json
from dataclasses import asdict

import pyarrow as pa
import pytest

from foliopress.tasks.records.premis import EVENTS_SCHEMA, ROW_COLUMNS, as_premis, event_of, verdict_of
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import as_table

WHEN, VERSIONS = "2026-01-31T17:59:00+00:00", {"pillow": "12.0", "foliopress": "0.1.0"}


def row(page_index=0, status="compressed", **more):
    values = {"output_key": f"pages/a.tif/{page_index + 1:04d}.avif", "output_sha256": f"{page_index:064x}"} | more
    values |= {"run_id": "20260131T175500Z-3f9c2a", "shard_id": "s", "document_key": "a.tif", "source_sha256": "f" * 64}
    values |= {"settings_digest": "5e", "model_digest": "30", "scorer": "litert-cpu"}
    known = asdict(PageRow(page_index=page_index, status=status, source_bytes=100, output_bytes=10, **values))
    return {name: known[name] for name in ROW_COLUMNS}


def kept(page_index, reason, status="kept", message=None):
    return row(page_index, status, reason=reason, message=message, output_key="pages/a.tif", output_sha256="f" * 64)


def test_a_compressed_book_is_one_event_with_its_pages_as_outcomes():
    event = event_of([row(0, codec="avif"), row(1, codec="g4")], WHEN, VERSIONS)
    assert (event["event_type"], event["outcome"], event["verdict"]) == ("compression", "success", "compressed")
    assert (event["n_pages"], event["source_bytes"], event["output_bytes"]) == (2, 200, 20)
    assert [(one["output_key"], one["output_bytes"], one["codec"]) for one in event["outputs"]] == [
        ("pages/a.tif/0001.avif", 10, "avif"),
        ("pages/a.tif/0002.avif", 10, "g4"),
    ]
    told = as_premis(event)
    links = [
        (one["linkingObjectIdentifierValue"], *one["linkingObjectRole"])
        for one in told["event"]["linkingObjectIdentifier"]
    ]
    assert links == [
        ("a.tif", "source"),
        ("pages/a.tif/0001.avif", "outcome"),
        ("pages/a.tif/0002.avif", "outcome"),
    ]
    fixity = [one["objectCharacteristics"][0]["fixity"][0]["messageDigest"] for one in told["object"]]
    assert fixity == ["f" * 64, f"{0:064x}", f"{1:064x}"]


def test_a_document_that_is_kept_is_a_replication_of_one_file_for_the_reason_of_the_page_to_blame():
    event = event_of([kept(0, "document_kept"), kept(1, "legibility", message="too faint")], WHEN, VERSIONS)
    assert (event["event_type"], event["outcome"], event["verdict"]) == ("replication", "success", "kept")
    assert (event["reason"], event["message"]) == ("legibility", "too faint")
    assert [(one["output_key"], one["output_bytes"]) for one in event["outputs"]] == [("pages/a.tif", 20)]
    (information,) = as_premis(event)["event"]["eventOutcomeInformation"]
    assert information["eventOutcomeDetail"] == [{"eventOutcomeDetailNote": "kept: legibility: too faint"}]


def test_a_document_that_cannot_be_read_is_a_compression_that_failed_and_has_no_outcome():
    unread = row(0, "failed", reason="source_missing", message="it is gone", output_key=None, output_sha256=None)
    event = event_of([unread | {"source_sha256": None}], WHEN, VERSIONS)
    assert (event["event_type"], event["outcome"], event["outputs"]) == ("compression", "fail", [])
    told = as_premis(event)
    assert [one["linkingObjectRole"] for one in told["event"]["linkingObjectIdentifier"]] == [["source"]]
    assert told["object"][0]["objectCharacteristics"] == [{"size": 100}]


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (["compressed", "compressed"], "compressed"),
        (["kept", "kept"], "kept"),
        (["failed", "kept"], "failed"),
    ],
)
def test_the_verdict_on_a_document_is_that_of_its_worst_page(statuses, verdict):
    assert verdict_of(statuses) == verdict


def test_an_event_says_when_by_what_program_settings_and_model():
    told = as_premis(event_of([row()], WHEN, VERSIONS))["event"]
    assert told["eventDateTime"] == WHEN
    agents = [
        (one["linkingAgentIdentifierType"], one["linkingAgentIdentifierValue"])
        for one in told["linkingAgentIdentifier"]
    ]
    assert agents == [("software", "foliopress 0.1.0"), ("model SHA-256", "30")]
    (detail,) = told["eventDetailInformation"]
    assert "runs/20260131T175500Z-3f9c2a/settings.yaml" in detail["eventDetail"]
    (more,) = detail["eventDetailExtension"]
    assert (more["settings_digest"], more["versions"]["pillow"]) == ("5e", "12.0")


def test_the_same_rows_give_the_same_event_and_another_run_another_one():
    first, again = (event_of([row()], WHEN, VERSIONS) for _ in range(2))
    assert first == again
    assert event_of([row() | {"run_id": "later"}], WHEN, VERSIONS)["event_id"] != first["event_id"]


def test_an_event_fits_its_columns():
    events = [event_of([row()], WHEN, VERSIONS), event_of([kept(0, "no_gain")], None, {})]
    table = as_table(events, EVENTS_SCHEMA)
    assert isinstance(table, pa.Table) and table.to_pylist() == events
    assert json.loads(table["versions"][0].as_py()) == VERSIONS
