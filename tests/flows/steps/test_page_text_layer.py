"""Text layers from end to end: every page whose words can be seen can be searched, whatever becomes of its image."""

import io

import numpy as np
import pikepdf
import pypdfium2
import pytest

from foliopress.configs.settings import DocumentSettings, Settings
from foliopress.flows.steps import steps
from foliopress.flows.steps.document_plan import describe
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition
from foliopress.tasks.pdf import pdf_reader
from foliopress.tasks.storage.source_listing import Document
from tests.flows.steps.test_page_steps import Archive, scan
from tests.papers import Sheet, hidden, jpeg, paper, shown
from tests.tasks.pdf.test_multi_image import strips

LETTER = scan()
OTHER = scan(("Ledger 1887", "CarriedMetadata forward 4,113"))
WITH_TEXT = Settings(documents=DocumentSettings(text_layer=True))
IN_LETTER, IN_OTHER = "Minutes of 4 March 1887 Present: the whole board", "Ledger 1887 CarriedMetadata forward 4,113"


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def texts_of(data):
    """Return the words on each page, as pdfium finds them."""
    with pypdfium2.PdfDocument(data) as document:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in document]


def put_together(*documents):
    """Return one document of the pages of several."""
    buffer = io.BytesIO()
    with pikepdf.new() as together:
        for data in documents:
            with pikepdf.open(io.BytesIO(data)) as document:
                together.pages.extend(document.pages)
        together.save(buffer)
    return buffer.getvalue()


def told(result):
    return [(row["status"], row["reason"]) for row in result.pages]


def test_a_footer_or_a_blank_keeps_no_page_from_being_searched(archive):
    footer = "Scanned with PhoneScan"
    data = paper(
        Sheet(jpeg(LETTER, 95), above=shown(footer, (200, 12))),
        Sheet(jpeg(OTHER, 95), above=hidden(" ", (200, 12))),
    )
    result = archive.run("a.pdf", data, WITH_TEXT)
    assert told(result) == [("compressed", None), ("compressed", None)]
    output = archive.dest.read_bytes("pages/a.pdf")
    assert sorted(texts_of(output)[0].split()) == sorted(f"{IN_LETTER} {footer}".split())
    assert texts_of(output)[1] == IN_OTHER
    archive.run("b.pdf", data)
    without = archive.dest.read_bytes("pages/b.pdf")
    for number in (0, 1):
        assert np.array_equal(pdf_reader.render_page(output, number, 72), pdf_reader.render_page(without, number, 72))


def test_pages_of_strips_can_be_searched_whether_they_became_smaller_or_not(archive):
    data = put_together(
        paper(Sheet(jpeg(OTHER, 95))), strips(LETTER[:350], LETTER[350:], above=shown("filed", (50, 20)))
    )
    result = archive.run("a.pdf", data, WITH_TEXT)
    assert told(result) == [("compressed", None), ("compressed", None)]
    once = archive.dest.read_bytes("pages/a.pdf")
    first, second = texts_of(once)
    assert first == IN_OTHER
    assert sorted(second.split()) == sorted(f"{IN_LETTER} filed".split())  # what can be seen is not said twice
    archive.run("plain.pdf", data)
    plain = archive.dest.read_bytes("pages/plain.pdf")
    again = put_together(paper(Sheet(jpeg(OTHER, 95))), cut(plain, 1))
    result = archive.run("b.pdf", again, WITH_TEXT)
    assert told(result) == [("compressed", None), ("kept", "composed_page")]
    row = result.pages[1]
    assert row["ocr_words"] == len([word for word in result.words.to_pylist() if word["page_index"] == 1]) >= 9
    assert row["codec"] is None
    output = archive.dest.read_bytes("pages/b.pdf")
    assert sorted(texts_of(output)[1].split()) == sorted(second.split())
    assert np.array_equal(pdf_reader.render_page(output, 1, 72), pdf_reader.render_page(again, 1, 72))


def cut(data, page_index):
    """Return one page of a document as a document."""
    buffer = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as document, pikepdf.new() as alone:
        alone.pages.append(document.pages[page_index])
        alone.save(buffer)
    return buffer.getvalue()


def test_a_page_that_foliopress_wrote_gets_its_layer_beside_new_pages(archive):
    archive.run("once.pdf", paper(Sheet(jpeg(LETTER, 95))))
    once = archive.dest.read_bytes("pages/once.pdf")
    data = put_together(once, paper(Sheet(jpeg(OTHER, 95))))
    assert told(archive.run("a.pdf", data)) == [("kept", "already_compressed"), ("compressed", None)]
    assert texts_of(archive.dest.read_bytes("pages/a.pdf")) == ["", ""]
    assert told(archive.run("b.pdf", data, WITH_TEXT)) == [("kept", "already_compressed"), ("compressed", None)]
    output = archive.dest.read_bytes("pages/b.pdf")
    assert texts_of(output) == [IN_LETTER, IN_OTHER]
    assert np.array_equal(pdf_reader.render_page(output, 0, 72), pdf_reader.render_page(data, 0, 72))


def test_pages_that_share_an_image_each_get_its_words(archive):
    def share(document):
        document.pages[1].Resources.XObject.Im0 = document.pages[0].Resources.XObject.Im0

    data = paper(Sheet(jpeg(LETTER, 95)), Sheet(jpeg(LETTER, 95), rotate=180), Sheet(jpeg(OTHER, 95)), finish=share)
    result = archive.run("a.pdf", data, WITH_TEXT)
    assert told(result) == [("kept", "shared_image"), ("kept", "shared_image"), ("compressed", None)]
    texts = texts_of(archive.dest.read_bytes("pages/a.pdf"))
    assert (texts[0], texts[2]) == (IN_LETTER, IN_OTHER)


def test_a_program_s_page_is_never_read_and_nothing_is_where_no_page_gets_smaller(archive):
    archive.run("once.pdf", paper(Sheet(jpeg(LETTER, 95))))
    once = archive.dest.read_bytes("pages/once.pdf")
    data = put_together(once, paper(Sheet(None, above=shown("typed"))))
    result = archive.run("a.pdf", data, WITH_TEXT)
    assert told(result) == [("kept", "already_compressed"), ("kept", "digital_page")]
    assert [row["ocr_words"] for row in result.pages] == [None, None]
    assert archive.dest.read_bytes("pages/a.pdf") == data


def test_text_beside_a_document_is_written_for_pages_that_stay_too(archive):
    archive.run("once.pdf", paper(Sheet(jpeg(LETTER, 95))))
    once = archive.dest.read_bytes("pages/once.pdf")
    assert told(archive.run("a.pdf", once, Settings(text=("txt",)))) == [("kept", "already_compressed")]
    (key,) = [key for key in archive.stored() if key.endswith(".txt")]
    assert " ".join(archive.dest.read_bytes(key).decode().split()) == IN_LETTER


def test_a_page_that_stays_keeps_its_own_reason_when_its_text_cannot_be_read(archive, monkeypatch):
    archive.run("once.pdf", paper(Sheet(jpeg(LETTER[:600], 95))))
    once = archive.dest.read_bytes("pages/once.pdf")
    real = recognition.read_words

    def read_words(pixels, dpi, settings):
        if pixels.shape[0] == 600:
            raise PageError("ocr_timeout", "OCR gave no answer in 1 s; page kept whole")
        return real(pixels, dpi, settings)

    monkeypatch.setattr(recognition, "read_words", read_words)
    data = put_together(once, paper(Sheet(jpeg(OTHER, 95))))
    assert told(archive.run("a.pdf", data, WITH_TEXT)) == [("kept", "already_compressed"), ("compressed", None)]
    assert texts_of(archive.dest.read_bytes("pages/a.pdf")) == ["", IN_OTHER]


def test_the_driver_counts_the_pixels_of_the_pages_that_are_read(archive):
    archive.run("once.pdf", paper(Sheet(jpeg(LETTER, 95))))
    data = put_together(archive.dest.read_bytes("pages/once.pdf"), paper(Sheet(jpeg(OTHER, 95))))
    document = Document("a.pdf", len(data), "v1")
    pixels = LETTER.shape[0] * LETTER.shape[1]
    assert describe(steps.open_document(document, data, WITH_TEXT)).pixels == (pixels, pixels)
    assert describe(steps.open_document(document, data, Settings())).pixels == (1, pixels)
    small = WITH_TEXT.model_copy(update={"limits": WITH_TEXT.limits.model_copy(update={"max_page_pixels": pixels - 1})})
    assert describe(steps.open_document(document, data, small)).pixels == (1, 1)
