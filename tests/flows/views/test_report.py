"""The report: one file that says what the statistics say, and needs nothing else."""

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


class Told(HTMLParser):
    """What a page of HTML says, and what it would load."""

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
    """A DEST of four pages; the output of one is there, that of another is not."""
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
    told = " ".join(Told(report_on(dest.url, SETTINGS)).words)
    sums = totals(live_rows(dest))
    assert f"{100 * sums.saved_fraction:.1f} %" in told
    for words in ("no_gain", "damaged", "a/<b>&amp.jpg", "worst block 0.610"):
        assert words in told
    assert told.index("0.610") < told.index("0.720")  # the worst first


def test_it_needs_nothing_but_itself(dest):
    text = report_on(dest.url, SETTINGS)
    told = Told(text)
    assert told.loads and all(one.startswith("data:image/jpeg;base64,") for one in told.loads)
    assert "script" not in told.tags and "link" not in told.tags
    assert not re.findall(r"url\((?!#)|@import", text)
    assert told.tags.count("svg") == 6


def test_an_output_that_is_gone_is_told_and_a_name_is_no_markup(dest):
    told = Told(report_on(dest.url, SETTINGS))
    assert "foliopress verify tells why" in " ".join(told.words)
    assert told.tags.count("img") == 1
    assert "b" not in [tag for tag, words in zip(told.tags, told.words, strict=False) if "amp" in words]


def test_it_says_what_the_output_was_made_by_and_can_be_held_against(tmp_path):
    store = Store(str(tmp_path / "data"), StorageSettings())
    commit(store, "s1", {"a.tif": "compressed", "b.tif": "kept", "c.tif": "failed", "d.tif": "kept"})
    for number in range(NEWEST_RUNS + 2):
        record = {"run_id": f"r{number:02d}", "status": "finished", "versions": {"pillow": "<12.0>"}}
        record |= {"started_at": f"begun {number}", "finished_at": f"ended {number}", "run": {"pages": 1000 + number}}
        store.write_bytes(f"runs/r{number:02d}/run.json", json.dumps(record).encode())
    told = " ".join(Told(report_on(store.url, SETTINGS)).words)
    for words in ("1 compressed, 2 kept, 1 failed", "settings 5e, model 30, litert-cpu: 4 documents", "pillow <12.0>"):
        assert words in told
    assert "Events not written, or not up to date" in told and "Bag none; foliopress bag makes one" in told
    assert "r21 begun 21 ended 21 finished 1021" in told and "r02" in told and "r01" not in told
    assert f"The newest {NEWEST_RUNS} of {NEWEST_RUNS + 2} runs." in told

    bag_archive(store.url, SETTINGS, "bagging", print)
    told = " ".join(Told(report_on(store.url, SETTINGS)).words)
    assert "one for each document, in evidence/events" in told
    assert re.search(r"Bag BagIt: Bagging-Date \d{4}-\d\d-\d\d, Bag-Software-Agent Foliopress .* bagit.py", told)


def test_a_run_whose_record_cannot_be_read_is_told(dest):
    dest.write_bytes("runs/r1/run.json", b"{")
    assert "r1 – – unreadable" in " ".join(Told(report_on(dest.url, SETTINGS)).words)


def test_the_command_writes_a_file(dest, tmp_path):
    done = CliRunner().invoke(app, ["report", dest.url, "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_a_place_without_a_dest_is_a_wrong_setting(tmp_path):
    done = CliRunner().invoke(app, ["report", str(tmp_path / "nowhere"), "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 2
    assert not (tmp_path / "r.html").exists()
