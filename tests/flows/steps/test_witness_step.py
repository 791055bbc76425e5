"""When our reader misreads a source, the witness keeps the document whole, and its rows say what it saw."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from foliopress.configs.settings import DocumentSettings, Settings
from foliopress.tasks import documents
from foliopress.tasks.witness import image_view
from tests.flows.steps.test_page_steps import Archive, saved, scan
from tests.papers import Sheet, flate, jpeg, paper

LETTER = scan()
GREY = scan(("Ledger 1887", "CarriedMetadata forward 4,113"), colour=False)


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


@pytest.fixture
def misread(monkeypatch):
    """Our reader does something to the pixels of every page, or of one."""

    def plant(fault, page_index=None):
        real = documents.read_page

        def read_page(data, number, *arguments, **options):
            page = real(data, number, *arguments, **options)
            if page_index not in (None, number):
                return page
            return dataclasses.replace(page, pixels=np.ascontiguousarray(fault(page.pixels)))

        monkeypatch.setattr(documents, "read_page", read_page)

    return plant


def tiff(*pages):
    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(page) for page in pages)
    first.save(buffer, "TIFF", save_all=True, append_images=rest, dpi=(150, 150))
    return buffer.getvalue()


def test_the_row_of_a_sound_page_says_who_looked_and_what_was_seen(archive):
    (row,) = archive.run("a.jpg", saved(LETTER)).pages
    assert (row["status"], row["witness"]) == ("compressed", "opencv, imagecodecs")
    assert 0 < row["witness_error"] < 6
    assert 0 < row["witness_worst_block"] < 0.8
    assert row["seconds_witness"] > 0


@pytest.mark.parametrize(
    "fault",
    [lambda page: 255 - page, lambda page: page[..., ::-1], lambda page: page[:, ::-1]],
    ids=["inverted", "channels swapped", "mirrored"],
)
def test_a_page_that_our_reader_misreads_is_kept_whole(archive, misread, fault):
    misread(fault)
    data = saved(LETTER)
    (row,) = archive.run("a.jpg", data).pages
    assert (row["status"], row["reason"]) == ("kept", "seen_otherwise")
    assert row["witness_worst_block"] > 0.8
    assert "as opencv, imagecodecs shows it" in row["message"]
    assert archive.dest.read_bytes(row["output_key"]) == data


@pytest.mark.parametrize("settings", [{}, {"pdf": "pages"}])
def test_one_misread_page_keeps_the_whole_pdf_and_its_row_has_the_figures(archive, misread, settings):
    misread(lambda page: 255 - page, 1)
    data = paper(Sheet(jpeg(LETTER, 95)), Sheet(flate(GREY)))
    rows = archive.run("a.pdf", data, Settings(documents=DocumentSettings(**settings))).pages
    assert [row["reason"] for row in rows] == ["document_kept", "seen_otherwise"]
    assert rows[1]["witness_worst_block"] > 0.8 > rows[0]["witness_worst_block"]
    assert archive.dest.read_bytes("pages/a.pdf") == data


@pytest.mark.parametrize("form", ["pages", "same"])
def test_pages_of_a_tiff_that_our_reader_swaps_keep_it_whole(archive, monkeypatch, form):
    real = documents.read_page
    monkeypatch.setattr(
        documents, "read_page", lambda data, number, *rest, **options: real(data, 1 - number, *rest, **options)
    )
    data = tiff(GREY, scan(("Cash book 1888", "Nothing due"), colour=False))
    rows = archive.run("a.tif", data, Settings(documents=DocumentSettings(tiff=form))).pages
    assert {row["status"] for row in rows} == {"kept"}
    assert "seen_otherwise" in {row["reason"] for row in rows}


def test_a_page_that_our_reader_drops_is_seen(archive, monkeypatch):
    real = documents.read_header

    def read_header(data, *arguments, **options):
        header = real(data, *arguments, **options)
        return dataclasses.replace(header, pages=header.pages[:1])

    monkeypatch.setattr(documents, "read_header", read_header)
    data = tiff(GREY, scan(("Cash book 1888", "Nothing due"), colour=False))
    (row,) = archive.run("a.tif", data).pages
    assert (row["status"], row["reason"]) == ("kept", "seen_otherwise")
    assert "image 2 of the source has no output" in row["message"]
    assert archive.dest.read_bytes("pages/a.tif") == data


def test_lab_which_no_other_decoder_shows_by_its_white_point_is_heard_by_nobody(archive):
    lab = ImageCms.profileToProfile(
        Image.fromarray(LETTER), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    buffer = io.BytesIO()
    lab.save(buffer, "TIFF", dpi=(150, 150))
    (row,) = archive.run("a.tif", buffer.getvalue()).pages
    assert (row["status"], row["witness"], row["witness_error"]) == ("compressed", "unheard", None)


def test_a_decoder_that_fails_in_a_way_nobody_expects_keeps_the_document_and_no_other(archive, monkeypatch):
    def look_at(*arguments):
        raise ZeroDivisionError("no rows")

    with monkeypatch.context() as patch:
        patch.setattr(image_view, "look_at", look_at)
        (row,) = archive.run("a.jpg", saved(LETTER)).pages
    assert (row["status"], row["reason"]) == ("kept", "seen_otherwise")
    assert "ZeroDivisionError: no rows" in row["message"]
