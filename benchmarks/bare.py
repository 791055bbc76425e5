"""Run the page steps in a plain loop of one process, to measure a run without Prefect and Dask.

python -m benchmarks.bare SOURCE DEST
"""

from __future__ import annotations

from typing import Annotated

import typer

from foliopress.configs.loading import load_settings, settings_digest
from foliopress.flows import compress_one
from foliopress.flows.ledger.shard_rows import ShardRows
from foliopress.flows.run.shards import Shard
from foliopress.flows.steps.document_plan import PageJob
from foliopress.model.scoring import load_scorer
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.storage.source_listing import ListingCounts, list_documents
from foliopress.tasks.storage.store import Store


def main(
    source: Annotated[str, typer.Argument(help="Path of the scans.")],
    dest: Annotated[str, typer.Argument(help="Path of the output.")],
    profile: Annotated[str, typer.Option(help="Profile of the settings.")] = "access",
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
) -> None:
    """Compress all documents of SOURCE into DEST, one after another."""
    settings = load_settings(profile, overrides or ())
    scorer = load_scorer(settings.importance.model)
    job = PageJob(source, dest, settings, "bare", "bare", settings_digest(settings), scorer.digest, scorer.name)
    documents, rows = [], ShardRows()
    for document in list_documents(Store(source, settings.storage), settings.scan, ListingCounts()):
        rows.add(compress_one(document, job))
        documents.append(document)
    shard = Shard("bare", tuple(documents))
    keys = [document.key for document in documents] or [""]
    footer = Footer("bare", (ShardEntry("bare", "bare", keys[0], keys[-1], len(keys)),))
    for name, schema in SCHEMAS.items():
        data = table_bytes(rows.table(name, shard), schema, footer.as_metadata())
        Store(dest, settings.storage).write_bytes(file_key(name, "bare"), data)


if __name__ == "__main__":
    typer.run(main)
