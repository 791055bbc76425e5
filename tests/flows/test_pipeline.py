"""Test the pipeline for one document, as the package shows it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foliopress.configs.loading import settings_digest
from foliopress.configs.settings import Settings
from foliopress.flows import compress_one
from foliopress.flows.steps.document_plan import PageJob
from foliopress.model.scoring import load_scorer
from foliopress.tasks.storage.source_listing import ListingCounts, list_documents
from foliopress.tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]


def test_a_document_goes_through_all_steps_in_one_process(archive: Callable[..., Path], tmp_path: Path) -> None:
    source, settings = archive("a.jpg"), Settings()
    scorer = load_scorer(settings.importance.model)
    digests = settings_digest(settings), scorer.digest, scorer.name
    job = PageJob(str(source), str(tmp_path / "out"), settings, "run", "shard", *digests)
    (document,) = list_documents(Store(str(source), settings.storage), settings.scan, ListingCounts())
    (row,) = compress_one(document, job).pages
    assert (row.document_key, row.status, row.output_key) == ("a.jpg", "compressed", "pages/a.jpg.avif")
    assert (tmp_path / "out" / "pages" / "a.jpg.avif").stat().st_size == row.output_bytes


@pytest.mark.parametrize("module", ["foliopress.flows", "foliopress.flows.run.run_request"])
def test_importing_the_package_imports_no_codec_and_no_scheduler(module: str) -> None:
    heavy = "{'prefect', 'distributed', 'dask', 'pyarrow', 'numpy', 'cv2', 'PIL'}"
    check = f"import {module}, sys; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
