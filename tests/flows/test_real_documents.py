"""Test real PDFs and TIFFs of other projects: each goes through, and a document that cannot shrink stays as it is."""

from __future__ import annotations

import csv
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from foliopress.configs.settings import DocumentSettings, Settings
from foliopress.tasks.documents import read_page
from foliopress.tasks.pdf import pdf_reader
from tests.flows.steps.test_page_steps import Archive

_QUICK = (
    "ocrmypdf/images/c02-22.pdf",
    "ocrmypdf/images/cardinal.pdf",
    "ocrmypdf/images/ccitt.pdf",
    "ocrmypdf/images/jbig2.pdf",
    "ocrmypdf/images/masks.pdf",
    "ocrmypdf/images/skew.pdf",
    "robust-ocrmypdf/images/valid-odd/3small.pdf",
    "robust-ocrmypdf/images/valid-odd/acroform.pdf",
    "robust-ocrmypdf/images/valid-odd/cmyk.pdf",
    "robust-ocrmypdf/images/valid-odd/palette.pdf",
    "robust-newspaper-works/images/valid-odd/minimal-2-page.pdf",
)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path, importance=0.5)


def keys_of(scans: Path, *endings: str) -> list[str]:
    with (scans / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "image"]
    return [row["path"] for row in rows if row["path"].lower().endswith(endings)]


def assert_is_the_same_document(before: bytes, after: bytes, changed: set[int]) -> None:
    """Hold two PDFs against one another: all that is not a scan of these pages must be as it was."""
    with pypdfium2.PdfDocument(before) as one, pypdfium2.PdfDocument(after) as two:
        assert len(one) == len(two)
        for number in range(len(one)):
            texts = [document[number].get_textpage().get_text_range() for document in (one, two)]
            assert texts[0] == texts[1], f"text of page {number + 1}"
            assert one[number].get_size() == two[number].get_size()
    with pdf_reader.open_pdf(before) as one, pdf_reader.open_pdf(after) as two:
        assert set(two.check_pdf_syntax()) <= set(one.check_pdf_syntax())
        assert [page.label for page in two.pages] == [page.label for page in one.pages]
        assert dict(two.docinfo.items()) == dict(one.docinfo.items()) if "/Info" in one.trailer else True
        assert set(one.Root.keys()) <= set(two.Root.keys())
    for number in range(len(_sizes(before))):
        if number not in changed:
            shown = [pdf_reader.render_page(data, number, 60) for data in (before, after)]
            assert np.array_equal(*shown), f"page {number + 1} shows otherwise in pdfium"
            if shutil.which("pdftoppm"):
                assert np.array_equal(*(_by_poppler(data, number) for data in (before, after)))


def _sizes(data: bytes) -> list[tuple[float, float]]:
    with pypdfium2.PdfDocument(data) as document:
        return [page.get_size() for page in document]


def _by_poppler(data: bytes, page_index: int) -> np.ndarray:
    number = str(page_index + 1)
    command = ["pdftoppm", "-r", "60", "-f", number, "-l", number, "-png", "-"]
    drawn = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    with Image.open(BytesIO(drawn)) as image:
        return np.asarray(image.convert("RGB"))


def check(archive: Archive, scans: Path, key: str, settings: Settings) -> None:
    data = (scans / key).read_bytes()
    name = key.replace("/", "-")
    result = archive.run(name, data, settings)
    rows = result.pages
    assert [row["page_index"] for row in rows] == list(range(len(rows)))
    assert sum(row["source_bytes"] for row in rows) == len(data)
    if {row["status"] for row in rows} == {"compressed"} and rows[0]["output_key"] != f"pages/{name}":
        return  # one page, one file: what becomes of those is tested elsewhere
    output = archive.dest.read_bytes(f"pages/{name}")
    changed = {row["page_index"] for row in rows if row["status"] == "compressed"}
    assert sum(row["output_bytes"] for row in rows) == len(output) <= len(data)
    if not changed:
        assert output == data
        return
    for row in rows:
        if row["status"] == "compressed":
            page = read_page(output, row["page_index"], settings.limits)
            assert page.pixels.shape[:2] == (row["output_height_px"], row["output_width_px"])
    if name.endswith(".pdf"):
        assert_is_the_same_document(data, output, changed)


@pytest.mark.parametrize("key", _QUICK)
def test_a_real_pdf_goes_through_and_stays_the_document_that_it_was(archive: Archive, scans: Path, key: str) -> None:
    check(archive, scans, key, Settings())


@pytest.mark.slow  # pages of 69 megapixels, and PDFs of 81
@pytest.mark.timeout(3000)
def test_every_pdf_and_tiff_of_all_splits_goes_through(archive: Archive, scans: Path) -> None:
    same = Settings(documents=DocumentSettings(tiff="same"))
    for key in keys_of(scans, ".pdf", ".tif", ".tiff"):
        check(archive, scans, key, same)


def test_a_multi_page_tiff_of_others_comes_out_as_one_tiff_or_as_it_was(archive: Archive, scans: Path) -> None:
    same = Settings(documents=DocumentSettings(tiff="same"))
    found = [key for key in keys_of(scans, ".tif", ".tiff") if "multi" in key]
    assert found
    for key in found:
        check(archive, scans, key, same)


def test_a_pdf_that_cannot_be_read_has_rows_with_a_reason(archive: Archive, scans: Path) -> None:
    for key in keys_of(scans, ".pdf"):
        if "/broken/" in key:
            data = (scans / key).read_bytes()
            rows = archive.run(key.replace("/", "-"), data).pages
            assert all(row["reason"] and row["status"] != "compressed" for row in rows)
            assert archive.dest.read_bytes(str(rows[0]["output_key"])) == data
