"""Test a document over which a worker was ended: it fails with its reason, its source is copied, a rerun retries it."""

import hashlib

import numpy as np
import pytest

from foliopress.configs.settings import LimitSettings, Settings
from foliopress.flows.steps import steps
from foliopress.tasks import watchdog
from foliopress.tasks.storage.source_listing import Document
from tests.flows.steps.test_page_steps import Archive
from tests.papers import Sheet, flate, paper

GREY = np.full((60, 50), 200, np.uint8)
TWO_PAGES = paper(Sheet(flate(GREY)), Sheet(flate(255 - GREY)))


@pytest.fixture
def marked(tmp_path, monkeypatch):
    """Leave the mark of a worker that was ended over a step of a document."""
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setattr(watchdog, "_folder", lambda: marks)
    monkeypatch.setattr(watchdog, "_armed", True)

    def mark(name):
        begin = hashlib.sha256(name.encode()).hexdigest()[:32]
        (marks / f"{begin}-123").write_text("where it was")

    return mark


@pytest.mark.parametrize(("step", "n_rows"), [("open", 1), ("use", 2)])
def test_a_document_over_which_a_worker_was_ended_fails_and_its_source_is_copied(step, n_rows, marked, tmp_path):
    archive = Archive(tmp_path)
    marked(f"run {step} a.pdf")
    rows = archive.run("a.pdf", TWO_PAGES).pages
    assert [(row["status"], row["reason"]) for row in rows] == [("failed", "out_of_time")] * n_rows
    assert archive.dest.read_bytes("pages/a.pdf") == TWO_PAGES
    assert all("--retry-failed" in row["message"] for row in rows)
    (neighbour,) = archive.run("b.pdf", paper(Sheet(None))).pages
    assert neighbour["reason"] == "digital_page"


def test_the_mark_of_another_run_says_nothing(marked, tmp_path):
    marked("another run use a.pdf")
    archive = Archive(tmp_path)
    assert {row["status"] for row in archive.run("a.pdf", TWO_PAGES).pages} == {"kept"}


def test_a_page_whose_document_can_no_longer_be_opened_fails_with_its_reason(marked, tmp_path):
    archive = Archive(tmp_path)
    archive.run("a.pdf", TWO_PAGES)
    marked("run open a.pdf")
    job = steps.PageJob(
        str(tmp_path / "source"), str(tmp_path / "dest"), Settings(), "run", "shard", "s", "m", "litert-cpu"
    )
    source = steps.fetch_document(Document("a.pdf", len(TWO_PAGES), "v1"), job)
    finished = [steps.finish_page(steps.prepare_page(source, number, job), None, source, job) for number in range(2)]
    rows = steps.store_document(source, finished, job).pages
    assert [(row.status, row.reason) for row in rows] == [("failed", "out_of_time")] * 2


def test_a_document_that_takes_longer_than_it_may_by_its_own_clock_fails_the_same_way(tmp_path):
    archive = Archive(tmp_path)
    settings = Settings(limits=LimitSettings(max_document_seconds=1e-9))
    rows = archive.run("a.pdf", paper(Sheet(flate(GREY), above=" 0 0 1 1 re f " * 300)), settings).pages
    assert [(row["status"], row["reason"]) for row in rows] == [("failed", "out_of_time")]
