"""Test the page of a finished run in Streamlit: totals, filters, worst pages, a page next to its source."""

import dataclasses
import shutil
import uuid

import fsspec
import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

from foliopress.app import run_page
from foliopress.app.trial_result import job_of
from foliopress.app.workbench import Workbench
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import StorageSettings
from foliopress.flows.steps import steps
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store
from tests.app.shown import markdown, visible_text

NAMES = ("letters/a.jpg", "letters/b.jpg", "notes/broken.jpg", "photos/c.jpg")


@pytest.fixture(scope="module")
def dest(tmp_path_factory, draw_page):
    """A DEST of four documents, one of them damaged, and its source."""
    root = tmp_path_factory.mktemp("run")
    for name in NAMES:
        path = root / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_page(f"Page of {name}").save(path, quality=97, dpi=(100, 100))
    (root / "scans" / "notes" / "broken.jpg").write_bytes(b"\xff\xd8 nothing more")
    job = dataclasses.replace(job_of(load_settings()), source_url=str(root / "scans"), dest_url=str(root / "out"))
    results = []
    for name in NAMES:
        source = steps.fetch_document(Document(name, 1, "1"), job)
        prepared = [steps.prepare_page(source, number, job) for number in range(steps.describe(source).n_pages)]
        scores = steps.score_pages([steps.scoring_input(page) for page in prepared], job)
        done = [steps.finish_page(page, score, source, job) for page, score in zip(prepared, scores, strict=True)]
        results.append(steps.store_document(source, done, job))
    store = Store(str(root / "out"), StorageSettings())
    footer = Footer("shard", (ShardEntry("shard", job.run_id, NAMES[0], NAMES[-1], len(NAMES)),)).as_metadata()
    tables = {"words": [one.words for one in results], "tiles": [one.tiles for one in results]}
    for name, parts in tables.items():
        rows = [row for part in parts for row in part.to_pylist()]
        store.write_bytes(file_key(name, "shard"), table_bytes(rows, SCHEMAS[name], footer))
    rows = [row.as_record() for one in results for row in one.pages]
    store.write_bytes(file_key("pages", "shard"), table_bytes(rows, SCHEMAS["pages"], footer))
    store.write_bytes("runs/r1/run.json", b'{"source": "%s"}' % str(root / "scans").encode())
    return root / "out"


def labelled(elements, label):
    return next(one for one in elements if one.label == label)


def turn_to(page, tab):
    page.session_state["run tab"] = tab
    return page.run()


def metrics(page):
    return {one.label: one.value for one in page.metric}


def test_totals_are_those_of_whole_files(look_through, dest):
    page = look_through(dest)
    assert not page.exception and not page.error
    found = metrics(page)
    assert found["Pages"] == "4"
    assert found["Compressed"] == "3"
    assert found["Kept, failed"] == "0, 1"


def test_filters_narrow_the_table(look_through, dest):
    page = turn_to(look_through(dest), "All pages")
    assert "4 pages found" in visible_text(page)
    labelled(page.text_input, "Name contains").set_value("LETTERS/").run()
    assert "2 pages found" in visible_text(page)
    assert sorted(page.dataframe[0].value["document_key"]) == ["letters/a.jpg", "letters/b.jpg"]
    labelled(page.text_input, "Name contains").set_value("").run()
    labelled(page.multiselect, "Status").set_value(["failed"]).run()
    assert list(page.dataframe[0].value["document_key"]) == ["notes/broken.jpg"]
    labelled(page.multiselect, "Status").set_value([]).run()
    labelled(page.number_input, "at least").set_value(1.1).run()
    assert "0 pages found" in visible_text(page)
    assert not page.exception


def test_folders_are_gone_down_into(look_through, dest):
    page = look_through(dest)
    folders = labelled(page.selectbox, "Folders")
    assert set(folders.options) == {"letters/", "notes/", "photos/"}
    folders.select("letters/").run()
    assert not page.exception


def test_the_gallery_holds_the_worst_first_and_leads_to_the_comparison(look_through, dest):
    page = turn_to(look_through(dest), "Worst pages")
    buttons = [one for one in page.button if one.label == "Compare"]
    assert len(buttons) == 3  # the damaged page has nothing to compare
    buttons[0].click().run()
    assert not page.exception and not page.error
    assert "Worst block of ink" in metrics(page)
    labelled(page.button, "Back to the run").click().run()
    assert metrics(page)["Pages"] == "4"


def test_what_was_asked_for_is_still_there_after_a_page_was_looked_at(look_through, dest):
    page = turn_to(look_through(dest), "All pages")
    labelled(page.text_input, "Name contains").set_value("letters/").run()
    page.session_state["looked at"] = (str(dest), "letters/b.jpg", 0)
    page.run()
    assert "Worst block of ink" in metrics(page)
    labelled(page.button, "Back to the run").click().run()
    assert labelled(page.text_input, "Name contains").value == "letters/"
    assert "2 pages found" in visible_text(page)


def test_a_page_that_failed_is_shown_with_its_reason(look_through, dest):
    page = look_through(dest)
    page.session_state["looked at"] = (str(dest), "notes/broken.jpg", 0)
    page.run()
    assert not page.exception
    assert "not a readable" in visible_text(page) and metrics(page)["Source"] != "0 B"


def test_without_its_source_only_the_output_is_shown_and_said_to_be(look_through, dest, monkeypatch):
    real = run_page.open_run
    monkeypatch.setattr(run_page, "open_run", lambda url: dataclasses.replace(real(url), source="/nowhere"))
    page = look_through(dest)
    page.session_state["looked at"] = (str(dest), "letters/a.jpg", 0)
    page.run()
    assert not page.exception
    assert "only the output is shown" in visible_text(page)


EVIL = "![x](http://evil.example/a.png) [y](http://evil.example) :red[z] $w$ <img src=http://evil.example/b> `c`"


@pytest.fixture
def hostile_dest(dest, tmp_path):
    """A DEST whose names, reasons and messages are Markdown that contacts another machine."""
    folder = tmp_path / "out"
    shutil.copytree(dest, folder)
    (file,) = (folder / "stats" / "pages").iterdir()
    table = pq.read_table(file)
    rows = [
        {**row, "document_key": f"{EVIL}/{row['document_key']}", "message": EVIL, "reason": row["reason"] and EVIL}
        for row in table.to_pylist()
    ]
    keys = [row["document_key"] for row in rows]
    rows[0]["duplicate_of"] = keys[1]
    footer = Footer("shard", (ShardEntry("shard", rows[0]["run_id"], keys[0], keys[-1], len(keys)),))
    file.write_bytes(table_bytes(rows, SCHEMAS["pages"], footer.as_metadata()))
    return folder


def test_nothing_that_stands_in_a_dest_is_taken_for_markdown(look_through, hostile_dest):
    page = look_through(hostile_dest)
    seen = markdown(page)
    labelled(page.selectbox, "Folders").select(f"{EVIL.partition('/')[0]}/").run()
    for tab in ("Worst pages", "All pages"):
        seen += markdown(turn_to(page, tab))
    for row in pq.read_table(hostile_dest / "stats" / "pages").to_pylist():
        page.session_state["looked at"] = (str(hostile_dest), row["document_key"], 0)
        page.run()
        assert not page.exception
        assert EVIL in visible_text(page)
        seen += markdown(page)
    assert "Worst block of ink" in seen and "evil" not in seen
    assert not [one for one in page.get("html") if "<img" in one.proto.body]


def test_a_link_opens_nothing_before_a_click(look_through, dest, monkeypatch):
    run = []
    monkeypatch.setattr(run_page, "open_run", lambda url: run.append(url))
    page = AppTest.from_string("from foliopress.app import run_page\nrun_page.draw()", default_timeout=120)
    page.query_params["dest"] = f"{dest}?{EVIL}"
    page.run()
    assert not page.exception and not run
    assert [one.label for one in page.button] == ["Open it"]
    assert "A link asks" in markdown(page) and "evil" not in markdown(page)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "filecache::s3://bucket/x", "s3://key:word@bucket/x"])
def test_what_no_dest_can_be_is_not_opened(look_through, url, monkeypatch):
    monkeypatch.setattr(fsspec, "filesystem", lambda *_, **__: pytest.fail("it was opened"))
    page = look_through(url)
    assert not page.exception
    assert "This cannot be opened" in visible_text(page)


def test_a_source_on_a_server_that_only_dest_names_is_not_asked(look_through, dest, monkeypatch):
    real = run_page.open_run
    monkeypatch.setattr(
        run_page, "open_run", lambda url: dataclasses.replace(real(url), source="webhdfs://169.254.169.254/x")
    )
    monkeypatch.setattr(fsspec, "filesystem", lambda *_, **__: pytest.fail("it was asked"))
    page = look_through(dest)
    page.session_state["looked at"] = (str(dest), "letters/a.jpg", 0)
    page.run()
    assert not page.exception
    assert "which this window does not contact" in visible_text(page)


@pytest.mark.parametrize("place", ["/nowhere/at/all", "s3://", "nonsense://x"])
def test_a_place_that_cannot_be_opened_is_told(look_through, place):
    page = look_through(place)
    assert not page.exception
    assert "cannot be opened" in visible_text(page)


def test_a_dest_without_finished_pages_is_told(look_through, tmp_path):
    page = look_through(tmp_path)
    assert not page.exception
    assert "no finished pages" in visible_text(page)


def test_a_damaged_file_of_statistics_is_told(look_through, tmp_path):
    (tmp_path / "stats" / "pages").mkdir(parents=True)
    (tmp_path / "stats" / "pages" / f"{uuid.uuid4().hex}.parquet").write_bytes(b"no parquet")
    page = look_through(tmp_path)
    assert not page.exception
    assert "is damaged" in visible_text(page)


def test_the_bench_and_a_run_show_the_same_page(dest):
    data = (dest.parent / "scans" / "letters" / "a.jpg").read_bytes()
    result = Workbench("a.jpg", data).try_page(0, load_settings())
    assert result.finished.data == (dest / "pages" / "letters" / "a.jpg.avif").read_bytes()
