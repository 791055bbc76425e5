"""Test the report: one self-contained file that agrees with the statistics."""

import io
import json
import re
import uuid
from dataclasses import asdict
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from foliopress.configs.loading import load_settings
from foliopress.configs.settings import StorageSettings
from foliopress.flows.cli import app
from foliopress.flows.dest.bag import bag_archive
from foliopress.flows.views.report import NEWEST_RUNS, report_on
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.records.totals import totals
from foliopress.tasks.storage.store import Store
from tests.flows.dest.test_premis_events import commit

SETTINGS = load_settings()


class ParsedHtml(HTMLParser):
    """The texts of an HTML page, and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.words, self.loads, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def dest(draw_page):
    """A DEST of four pages; the output of one exists, that of another does not."""
    store = Store(f"memory://{uuid.uuid4().hex}", StorageSettings())
    buffer = io.BytesIO()
    draw_page("A page").save(buffer, "WEBP")
    store.write_bytes("pages/a/<b>&amp.jpg.webp", buffer.getvalue())
    rows = [
        ("a/<b>&amp.jpg", "compressed", None, 1_000_000, 100_000, 0.61, "pages/a/<b>&amp.jpg.webp"),
        ("a/gone.jpg", "compressed", None, 1_000_000, 300_000, 0.72, "pages/a/gone.jpg.webp"),
        ("b/kept.jpg", "kept", "no_gain", 50_000, 50_000, None, "pages/b/kept.jpg"),
        ("b/broken.jpg", "failed", "damaged", 20_000, 20_000, None, "pages/b/broken.jpg"),
    ]
    names = "document_key", "status", "reason", "source_bytes", "output_bytes", "worst_block_ssim", "output_key"
    pages = [PageRow(run_id="r", shard_id="s", page_index=0, **dict(zip(names, row, strict=True))) for row in rows]
    footer = Footer("s", (ShardEntry("s", "r", "a/", "b/z", 4),)).as_metadata()
    data = table_bytes([asdict(page) for page in pages], SCHEMAS["pages"], footer)
    store.write_bytes(file_key("pages", "s"), data)
    return store


def test_it_says_what_the_rows_add_up_to_and_why_pages_were_kept(dest):
    report = " ".join(ParsedHtml(report_on(dest.url, SETTINGS)).words)
    sums = totals(live_rows(dest))
    assert f"{100 * sums.saved_fraction:.1f} %" in report
    for words in ("no_gain", "damaged", "a/<b>&amp.jpg", "worst block 0.610"):
        assert words in report
    assert report.index("0.610") < report.index("0.720")  # the worst first


def test_it_needs_nothing_but_itself(dest):
    text = report_on(dest.url, SETTINGS)
    report = ParsedHtml(text)
    assert report.loads and all(one.startswith("data:image/jpeg;base64,") for one in report.loads)
    assert "script" not in report.tags and "link" not in report.tags
    assert not re.findall(r"url\((?!#)|@import", text)
    assert report.tags.count("svg") == 6


def test_an_output_that_is_gone_is_told_and_a_name_is_no_markup(dest):
    report = ParsedHtml(report_on(dest.url, SETTINGS))
    assert "run foliopress verify for the cause" in " ".join(report.words)
    assert report.tags.count("img") == 1
    assert "b" not in [tag for tag, words in zip(report.tags, report.words, strict=False) if "amp" in words]


def test_it_says_what_the_output_was_made_by_and_can_be_held_against(tmp_path):
    store = Store(str(tmp_path / "data"), StorageSettings())
    commit(store, "s1", {"a.tif": "compressed", "b.tif": "kept", "c.tif": "failed", "d.tif": "kept"})
    for number in range(NEWEST_RUNS + 2):
        record = {"run_id": f"r{number:02d}", "status": "finished", "versions": {"pillow": "<12.0>"}}
        record |= {"started_at": f"begun {number}", "finished_at": f"ended {number}", "run": {"pages": 1000 + number}}
        store.write_bytes(f"runs/r{number:02d}/run.json", json.dumps(record).encode())
    report = " ".join(ParsedHtml(report_on(store.url, SETTINGS)).words)
    for words in ("1 compressed, 2 kept, 1 failed", "settings 5e, model 30, litert-cpu: 4 documents", "pillow <12.0>"):
        assert words in report
    assert "Events not written, or out of date" in report and "Bag none; create one with foliopress bag" in report
    assert "r21 begun 21 ended 21 finished 1021" in report and "r02" in report and "r01" not in report
    assert f"The newest {NEWEST_RUNS} of {NEWEST_RUNS + 2} runs." in report

    bag_archive(store.url, SETTINGS, "bagging", print)
    report = " ".join(ParsedHtml(report_on(store.url, SETTINGS)).words)
    assert "one per document, in evidence/events" in report
    assert re.search(r"Bag BagIt: Bagging-Date \d{4}-\d\d-\d\d, Bag-Software-Agent Foliopress .* bagit.py", report)


def test_a_run_whose_record_cannot_be_read_is_told(dest):
    dest.write_bytes("runs/r1/run.json", b"{")
    assert "r1 – – unreadable" in " ".join(ParsedHtml(report_on(dest.url, SETTINGS)).words)


def test_the_command_writes_a_file(dest, tmp_path):
    done = CliRunner().invoke(app, ["report", dest.url, "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_a_place_without_a_dest_is_a_wrong_setting(tmp_path):
    done = CliRunner().invoke(app, ["report", str(tmp_path / "nowhere"), "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 2
    assert not (tmp_path / "r.html").exists()
