"""Build PREMIS events from page rows: each document's outcome, time and software."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

Verdict = Literal["compressed", "kept", "failed"]

ROW_COLUMNS = (
    *("document_key", "document_version", "page_index", "status", "reason", "message", "codec", "run_id", "shard_id"),
    *("output_key", "output_bytes", "output_sha256", "source_bytes", "source_sha256"),
    *("settings_digest", "model_digest", "scorer"),
)
"""Columns of a page's row that an event is derived from."""

_TEXT = pa.string()
EVENTS_SCHEMA = pa.schema(
    [
        ("event_id", _TEXT),
        ("event_type", _TEXT),
        ("event_date_time", _TEXT),
        ("outcome", _TEXT),
        ("verdict", _TEXT),
        ("reason", _TEXT),
        ("message", _TEXT),
        ("document_key", _TEXT),
        ("document_version", _TEXT),
        ("n_pages", pa.int32()),
        ("source_bytes", pa.int64()),
        ("source_sha256", _TEXT),
        ("output_bytes", pa.int64()),
        (
            "outputs",
            pa.list_(
                pa.struct(
                    [
                        ("output_key", _TEXT),
                        ("output_bytes", pa.int64()),
                        ("output_sha256", _TEXT),
                        ("codec", _TEXT),
                    ]
                )
            ),
        ),
        ("run_id", _TEXT),
        ("shard_id", _TEXT),
        ("settings_digest", _TEXT),
        ("model_digest", _TEXT),
        ("scorer", _TEXT),
        ("versions", _TEXT),
    ]
)
"""One row per document; `versions` is a JSON object of names and versions."""

# Terms of http://id.loc.gov/vocabulary/preservation/eventType and …/eventOutcome. Kept documents are copied byte for
# byte.
_TYPES: dict[Verdict, str] = {"compressed": "compression", "kept": "replication", "failed": "compression"}
_OUTCOMES: dict[Verdict, str] = {"compressed": "success", "kept": "success", "failed": "fail"}

_NAMESPACE = uuid.UUID("6f0c1f0e-6d0f-5b0e-9a57-2b1d3f7f6c11")
_ANOTHER_PAGE = "document_kept"  # the reason of another page applies to the document


def verdict_of(statuses: Sequence[object]) -> Verdict:
    """Return the outcome of a document from the status of each of its pages.

    >>> verdict_of(["kept", "failed", "kept"]), verdict_of(["compressed"])
    ('failed', 'compressed')
    """
    return "failed" if "failed" in statuses else "kept" if "kept" in statuses else "compressed"


def event_of(rows: Sequence[Mapping[str, Any]], date_time: str | None, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return the event of one document, with the columns of `EVENTS_SCHEMA`.

    Its identifier is derived from run, document and outcome, so that the same rows give the same event again.

    Args:
        rows: All page rows of the document, with `ROW_COLUMNS`, in page order.
        date_time: Time of the commit, ISO 8601.
        versions: Software versions of the document's run, by name.
    """
    first = rows[0]
    verdict = verdict_of([row["status"] for row in rows])
    blamed = next((row for row in rows if row["reason"] not in (None, _ANOTHER_PAGE)), first)
    identity = json.dumps([first["run_id"], first["document_key"], first["source_sha256"], verdict])
    outputs = _outputs_of(rows)
    return {
        "event_id": str(uuid.uuid5(_NAMESPACE, identity)),
        "event_type": _TYPES[verdict],
        "event_date_time": date_time,
        "outcome": _OUTCOMES[verdict],
        "verdict": verdict,
        "reason": blamed["reason"],
        "message": blamed["message"],
        "document_key": first["document_key"],
        "document_version": first["document_version"],
        "n_pages": len(rows),
        "source_bytes": sum(row["source_bytes"] for row in rows),
        "source_sha256": first["source_sha256"],
        "output_bytes": sum(row["output_bytes"] for row in rows),
        "outputs": outputs,
        **{name: first[name] for name in ("run_id", "shard_id", "settings_digest", "model_digest", "scorer")},
        "versions": json.dumps(dict(sorted(versions.items()))),
    }


def as_premis(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event and its linked objects, with the names of PREMIS 3's semantic units.

    Args:
        event: From `event_of`.
    """
    versions = json.loads(event["versions"])
    outputs = event["outputs"]
    links = [("document key", event["document_key"], "source")]
    links += [("output key", output["output_key"], "outcome") for output in outputs]
    program = " ".join(filter(None, ("foliopress", versions.get("foliopress"))))
    agents = [("software", program)]
    if event["model_digest"] is not None:
        agents.append(("model SHA-256", event["model_digest"]))
    source = ("document key", event["document_key"], event["source_bytes"], event["source_sha256"], None)
    outcomes = (("output key", *(output[name] for name in _OUTPUT_FIELDS)) for output in outputs)
    return {
        "event": {
            "eventIdentifier": _named("eventIdentifier", "UUID", event["event_id"]),
            "eventType": event["event_type"],
            "eventDateTime": event["event_date_time"],
            "eventDetailInformation": [_detail(event, versions)],
            "eventOutcomeInformation": [
                {
                    "eventOutcome": event["outcome"],
                    "eventOutcomeDetail": [{"eventOutcomeDetailNote": _note(event)}],
                }
            ],
            "linkingAgentIdentifier": [
                _named("linkingAgentIdentifier", kind, value) | {"linkingAgentRole": ["executing program"]}
                for kind, value in agents
            ],
            "linkingObjectIdentifier": [
                _named("linkingObjectIdentifier", kind, value) | {"linkingObjectRole": [role]}
                for kind, value, role in links
            ],
        },
        "object": [_object(*values) for values in (source, *outcomes)],
    }


_OUTPUT_FIELDS = ("output_key", "output_bytes", "output_sha256", "codec")


def _outputs_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each output once: rows of one file, such as a book kept whole, each hold a share of its bytes."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = row["output_key"]
        if key in found:
            found[key]["output_bytes"] += row["output_bytes"]
        elif key is not None:
            found[key] = {name: row[name] for name in _OUTPUT_FIELDS}
    return list(found.values())


def _detail(event: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    run_id = event["run_id"]
    return {
        "eventDetail": f"run {run_id}, settings {event['settings_digest']} in runs/{run_id}/settings.yaml",
        "eventDetailExtension": [
            {
                "run_id": run_id,
                "shard_id": event["shard_id"],
                "settings_digest": event["settings_digest"],
                "model_digest": event["model_digest"],
                "scorer": event["scorer"],
                "versions": dict(versions),
                "document_version": event["document_version"],
                "n_pages": event["n_pages"],
            }
        ],
    }


def _note(event: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (event["verdict"], event["reason"], event["message"])))


def _named(unit: str, kind: str, value: str) -> dict[str, Any]:
    return {f"{unit}Type": kind, f"{unit}Value": value}


def _object(kind: str, key: str, size_bytes: int, sha256: str | None, codec: str | None) -> dict[str, Any]:
    digest = {"messageDigestAlgorithm": "SHA-256", "messageDigest": sha256, "messageDigestOriginator": "foliopress"}
    characteristics: dict[str, Any] = {"size": size_bytes}
    if sha256 is not None:
        characteristics |= {"fixity": [digest]}
    if codec is not None:
        characteristics |= {"format": [{"formatDesignation": {"formatName": codec}}]}
    return {
        "objectIdentifier": [_named("objectIdentifier", kind, key)],
        "objectCategory": "file",
        "objectCharacteristics": [characteristics],
    }
