"""Pages of several images: each is coded anew in its place, and the page is judged as it is drawn."""

import numpy as np
import pytest
from pikepdf import Dictionary, Name

from foliopress.configs.settings import Settings
from foliopress.tasks.documents import read_header, read_page
from foliopress.tasks.pdf import pdf_reader
from tests.flows.steps.test_page_steps import Archive, scan
from tests.papers import Sheet, flate, jpeg, paper, shown

LETTER = scan(("Minutes of 4 March 1887", "Present: the whole board"), shape=(700, 900))


def strips(*pieces, above=""):
    """A page on which images lie one under another, as many scanners leave them."""
    height = sum(piece.shape[0] for piece in pieces)
    shares = [piece.shape[0] / height * 842 for piece in pieces]

    def form(document):
        images, content, top = Dictionary(), "", 842.0
        for number, (piece, share) in enumerate(zip(pieces, shares, strict=True)):
            images[f"/S{number}"] = jpeg(piece, 95)(document) if number % 2 else flate(piece)(document)
            top -= share
            content += f"q 595 0 0 {share} 0 {top} cm /S{number} Do Q "
        made = document.make_stream(content.encode(), Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 595, 842])
        made.Resources = Dictionary(XObject=images)
        return made

    return paper(Sheet(form, matrix=(1, 0, 0, 1, 0, 0), above=above))


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def test_strips_become_smaller_in_their_places_and_all_else_stays(archive):
    data = strips(LETTER[:350], LETTER[350:], above=shown("filed", (50, 20)))
    header = read_header(data, Settings().limits).pages[0]
    assert (header.problem, header.parts) == (None, (0, 1))
    (row,) = archive.run("a.pdf", data).pages
    assert (row["status"], row["codec"]) == ("compressed", "jp2")
    assert row["ocr_words"] >= 9 and row["worst_block_ssim"] >= 0.5
    output = archive.dest.read_bytes("pages/a.pdf")
    assert len(output) < 0.6 * len(data)
    before, after = (pdf_reader.render_page(one, 0, 72).astype(int) for one in (data, output))
    assert np.abs(before - after).mean() < 5
    assert read_page(output, 0, Settings().limits).pixels.shape[:2] == (row["output_height_px"], row["output_width_px"])
    (again,) = archive.run("b.pdf", output).pages
    assert (again["status"], again["reason"]) == ("kept", "composed_page")


def test_a_masked_image_keeps_its_mask_and_small_and_shared_ones_stay(archive):
    stencil = np.zeros((700, 900), np.uint8)
    stencil[100:300, 100:800] = 255
    mask = flate(stencil)
    data = paper(Sheet(flate(LETTER, SMask=mask)))
    (row,) = archive.run("a.pdf", data).pages
    assert (row["status"], row["message"]) == ("compressed", None)
    output = archive.dest.read_bytes("pages/a.pdf")
    with pdf_reader.open_pdf(output) as document:
        image = document.pages[0].Resources.XObject.Im0
        assert np.array_equal(np.frombuffer(image.SMask.read_bytes(), np.uint8).reshape(700, 900), stencil)
    before, after = (pdf_reader.render_page(one, 0, 72).astype(int) for one in (data, output))
    assert np.abs(before - after).mean() < 5
    tiny = np.full((30, 40), 200, np.uint8)
    assert read_header(paper(Sheet(flate(tiny, SMask=flate(tiny)))), Settings().limits).pages[0].parts == ()
