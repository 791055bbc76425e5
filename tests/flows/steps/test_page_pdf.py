"""A PDF's way from end to end: its scans become smaller, and everything else stays what it was."""

import numpy as np
import pypdfium2
import pytest
from pikepdf import Array, Dictionary, Name

from foliopress.configs.settings import DocumentSettings, EncodeSettings, Settings
from foliopress.tasks.documents import read_page
from foliopress.tasks.ocr import recognition
from foliopress.tasks.pdf import pdf_reader
from tests.flows.steps.test_page_steps import Archive, scan
from tests.papers import Sheet, ccitt, everything_else, flate, hidden, jpeg, paper, shown

LETTER = scan()
GREY = scan(("Ledger 1887", "CarriedMetadata forward 4,113"), colour=False)
LINES = GREY > 150


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def told(result):
    return [(row["page_index"], row["status"], row["reason"], row["codec"]) for row in result.pages]


def test_a_pdf_is_written_back_with_smaller_scans_and_one_row_a_page(archive):
    data = paper(
        Sheet(jpeg(LETTER, 95), above=hidden("Minutes of 4 March 1887")),
        Sheet(flate(GREY)),
        Sheet(flate(LINES)),
        Sheet(None, above=shown("typed")),
        finish=everything_else,
    )
    result = archive.run("acts/a.pdf", data)
    assert told(result) == [
        (0, "compressed", None, "jp2"),
        (1, "compressed", None, "jp2"),
        (2, "compressed", None, "g4"),
        (3, "kept", "digital_page", None),
    ]
    assert archive.stored() == ["pages/acts/a.pdf"] == list({row["output_key"] for row in result.pages})
    output = archive.dest.read_bytes("pages/acts/a.pdf")
    assert sum(row["output_bytes"] for row in result.pages) == len(output) < len(data) / 2
    assert sum(row["source_bytes"] for row in result.pages) == len(data)
    for row, source in zip(result.pages[:3], (LETTER, GREY, LINES * 255), strict=True):
        page = read_page(output, row["page_index"], Settings().limits)
        assert page.pixels.shape[:2] == source.shape[:2] == (row["output_height_px"], row["output_width_px"])
        assert row["ocr_words"] > 0 and row["output_dpi"] == pytest.approx(page.dpi)
    assert np.array_equal(pdf_reader.render_page(output, 3, 72), pdf_reader.render_page(data, 3, 72))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_scan_that_lies_on_its_side_is_read_upright_and_goes_back_as_it_lay(archive, turns):
    lying = np.ascontiguousarray(np.rot90(GREY, turns))
    matrix = {1: (0, -842, 595, 0, 0, 842), 2: (-595, 0, 0, -842, 595, 842), 3: (0, 842, -595, 0, 595, 0)}[turns]
    data = paper(Sheet(flate(lying), matrix=matrix))
    (row,) = archive.run("a.pdf", data).pages
    assert (row["status"], row["height_px"], row["width_px"]) == ("compressed", *GREY.shape)
    assert row["ocr_words"] == 5
    shown_before, shown_after = (
        pdf_reader.render_page(one, 0, 72).astype(int) for one in (data, archive.dest.read_bytes("pages/a.pdf"))
    )
    assert np.abs(shown_before - shown_after).mean() < 4


BITS = scan(["Minutes of the board of 4 March 1887", "Present: the whole board"] * 4, grain=0, colour=False) > 128


def test_a_scan_in_g4_is_not_read_unless_its_words_are_wanted_and_its_neighbours_are(archive, monkeypatch):
    read, real = [], recognition.read_words
    monkeypatch.setattr(recognition, "read_words", lambda *a, **more: read.append(a[0].shape) or real(*a, **more))
    data = paper(Sheet(ccitt(BITS[:, :800])), Sheet(flate(GREY)))
    first, second = archive.run("a.pdf", data).pages
    assert (first["status"], first["reason"], first["page_kind"]) == ("kept", "no_gain", "bitonal")
    assert (first["ocr_words"], second["status"], second["codec"]) == (None, "compressed", "jp2")
    assert set(read) == {GREY.shape}
    layered = Settings(documents=DocumentSettings(text_layer=True))
    first, _ = archive.run("b.pdf", data, layered).pages
    assert first["ocr_words"] == 48
    with pypdfium2.PdfDocument(archive.dest.read_bytes("pages/b.pdf")) as document:
        assert "Present" in document[0].get_textpage().get_text_bounded()


def test_a_pdf_of_which_no_page_can_be_smaller_is_kept_byte_for_byte(archive):
    data = paper(Sheet(None, above=shown("typed")), Sheet(None, above=shown("more")))
    assert told(archive.run("a.pdf", data)) == [(0, "kept", "digital_page", None), (1, "kept", "digital_page", None)]
    assert archive.dest.read_bytes("pages/a.pdf") == data


def test_a_page_that_cannot_be_read_fails_and_its_document_is_kept_whole(archive):
    broken = jpeg(GREY)

    def cut(document):
        stream = broken(document)
        stream.write(bytes(stream.read_raw_bytes())[:200], filter=stream.Filter)
        return stream

    data = paper(Sheet(flate(GREY)), Sheet(cut), Sheet(None, above=shown("typed")))
    result = archive.run("a.pdf", data)
    assert told(result) == [
        (0, "kept", "document_kept", None),
        (1, "failed", "damaged", None),
        (2, "kept", "digital_page", None),
    ]
    assert archive.dest.read_bytes("pages/a.pdf") == data


def test_an_image_that_is_not_read_keeps_its_page_and_harms_no_neighbour(archive):
    def aligned_fax_cut_short(document):
        stream = flate(LINES)(document)
        stream.write(b"\x12\x99" * 400, filter=Name.CCITTFaxDecode, decode_parms=Dictionary(K=-1, Columns=900))
        return stream

    def in_three_bits(document):
        stream = flate(GREY)(document)
        stream.BitsPerComponent = 3
        return stream

    data = paper(Sheet(flate(GREY)), Sheet(aligned_fax_cut_short), Sheet(in_three_bits))
    assert told(archive.run("a.pdf", data)) == [
        (0, "compressed", None, "jp2"),
        (1, "kept", "unsupported_mode", None),
        (2, "kept", "unsupported_mode", None),
    ]
    output = archive.dest.read_bytes("pages/a.pdf")
    for number in (1, 2):
        assert np.array_equal(pdf_reader.render_page(output, number, 72), pdf_reader.render_page(data, number, 72))


def test_negatives_by_decode_and_reversed_palettes_come_out_as_they_were_seen(archive):
    palette = Array([Name.Indexed, Name.DeviceRGB, 1, b"\xff\xff\xff\0\0\0"])
    data = paper(
        Sheet(jpeg(255 - GREY, 95, Decode=[1, 0])),
        Sheet(jpeg(255 - LETTER, 95, Decode=[1, 0, 1, 0, 1, 0])),
        Sheet(flate(~LINES, ColorSpace=palette)),
    )
    for layers in ("one", "mrc"):
        settings = Settings(documents=DocumentSettings(layers=layers))
        result = archive.run(f"{layers}.pdf", data, settings)
        assert [row["status"] for row in result.pages] == ["compressed"] * 3
        output = archive.dest.read_bytes(f"pages/{layers}.pdf")
        for number in range(3):
            before, after = (pdf_reader.render_page(one, number, 72).astype(int) for one in (data, output))
            assert np.abs(before - after).mean() < 5 and before.mean() > 180


def test_a_signed_and_a_locked_pdf_are_kept_with_their_reason(archive):
    import pikepdf

    def signed(document):
        document.Root.AcroForm = pikepdf.Dictionary(SigFlags=3, Fields=pikepdf.Array([]))

    locked = paper(Sheet(flate(GREY)), encryption=pikepdf.Encryption(user="secret", owner="owner"))
    for data, reason in ((paper(Sheet(flate(GREY)), finish=signed), "signed"), (locked, "encrypted")):
        assert told(archive.run("a.pdf", data)) == [(0, "kept", reason, None)]
        assert archive.dest.read_bytes("pages/a.pdf") == data


def test_what_was_written_back_once_is_kept_the_second_time(archive):
    archive.run("a.pdf", paper(Sheet(jpeg(LETTER, 95))))
    once = archive.dest.read_bytes("pages/a.pdf")
    assert told(archive.run("b.pdf", once)) == [(0, "kept", "already_compressed", None)]
    assert archive.dest.read_bytes("pages/b.pdf") == once


def test_pages_of_a_pdf_become_images_where_that_is_wanted(archive):
    settings = Settings(documents=DocumentSettings(pdf="pages"), encode=EncodeSettings(codec="webp"))
    data = paper(Sheet(flate(GREY)), Sheet(flate(GREY), above=shown("Received", (200, 300))))
    result = archive.run("a.pdf", data, settings)
    assert told(result) == [(0, "compressed", None, "webp"), (1, "compressed", None, "webp")]
    assert archive.stored() == ["pages/a.pdf/0001.webp", "pages/a.pdf/0002.webp"]
    assert "Received" in [word["text"] for word in result.words.to_pylist() if word["page_index"] == 1]
    with_text = paper(Sheet(flate(GREY)), Sheet(None, above=shown("typed")))
    assert told(archive.run("b.pdf", with_text, settings))[1] == (1, "kept", "digital_page", None)
    assert archive.dest.read_bytes("pages/b.pdf") == with_text


def test_a_scan_becomes_layers_where_that_is_wanted_and_they_pass(archive):
    data = paper(Sheet(jpeg(LETTER, 95)), Sheet(flate(LINES)))
    one, three = (
        archive.run(key, data, Settings(documents=DocumentSettings(layers=layers)))
        for key, layers in (("one.pdf", "one"), ("three.pdf", "mrc"))
    )
    assert [row["codec"] for row in one.pages] == ["jp2", "g4"]
    assert [row["codec"] for row in three.pages] == ["mrc", "g4"]
    assert three.pages[0]["output_bytes"] < one.pages[0]["output_bytes"]
    assert three.pages[0]["words_kept_fraction"] == 1.0


def test_scans_without_text_can_be_searched_afterwards_where_that_is_wanted(archive):
    settings = Settings(documents=DocumentSettings(text_layer=True))
    small = np.ascontiguousarray(np.repeat(np.repeat(LINES[::2, ::2], 2, 0), 2, 1))
    data = paper(Sheet(jpeg(LETTER, 95)), Sheet(jpeg(LETTER, 95), above=hidden("its own")), Sheet(flate(small)))
    archive.run("a.pdf", data, settings)
    with pypdfium2.PdfDocument(archive.dest.read_bytes("pages/a.pdf")) as document:
        texts = [page.get_textpage().get_text_range().split() for page in document]
    assert texts[0] == ["Minutes", "of", "4", "March", "1887", "Present:", "the", "whole", "board"]
    assert sorted(texts[1]) == sorted([*texts[0], "its", "own"])  # which lies where no ink is
    assert "Ledger" in texts[2]
    archive.run("b.pdf", data)
    with pypdfium2.PdfDocument(archive.dest.read_bytes("pages/b.pdf")) as document:
        assert document[0].get_textpage().get_text_range() == ""
