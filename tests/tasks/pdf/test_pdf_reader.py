"""Test the description of PDF pages, and their images as stored."""

import numpy as np
import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.documents import read_header
from foliopress.tasks.errors import PageError
from foliopress.tasks.pdf import pdf_reader
from foliopress.tasks.pdf.pdf_reader import PdfPageKind, describe_page, open_pdf
from tests.papers import A4_PT, Sheet, ccitt, flate, hidden, jpeg, paper, shown

GREY = np.arange(60 * 42, dtype=np.uint16).reshape(60, 42).astype(np.uint8)


def look_of(sheet):
    with open_pdf(paper(sheet)) as document:
        return describe_page(document, 0)


@pytest.mark.parametrize(
    ("sheet", "kind", "is_bare", "has_text"),
    [
        (Sheet(flate(GREY)), PdfPageKind.SCAN, True, False),
        (Sheet(flate(GREY), above=hidden("found by OCR")), PdfPageKind.SCAN, True, True),
        (Sheet(flate(GREY), under=shown("covered by the scan")), PdfPageKind.SCAN, True, True),
        (Sheet(flate(GREY), above=shown("stamped on it")), PdfPageKind.SCAN, False, True),
        (Sheet(flate(GREY), above=" 10 10 40 40 re f "), PdfPageKind.SCAN, False, False),
        (Sheet(flate(GREY), matrix=(200, 0, 0, 300, 20, 20)), PdfPageKind.DIGITAL, False, False),
        (Sheet(None, above=shown("typed")), PdfPageKind.DIGITAL, False, True),
        (Sheet(flate(GREY, SMask=flate(GREY))), PdfPageKind.COMPOSED, False, False),
        (Sheet(flate(GREY > 9, ImageMask=True)), PdfPageKind.COMPOSED, False, False),
        (
            Sheet(flate(GREY, ColorSpace=Array([Name.Separation, Name.Gold, Name.DeviceGray]))),
            PdfPageKind.COMPOSED,
            False,
            False,
        ),
        (Sheet(flate(GREY), above=" q 595 0 0 842 0 0 cm /Im0 Do Q "), PdfPageKind.COMPOSED, False, False),
        (Sheet(flate(GREY), matrix=(-595, 0, 0, 842, 595, 0)), PdfPageKind.COMPOSED, False, False),
    ],
)
def test_a_page_is_a_scan_where_one_plain_image_covers_it(sheet, kind, is_bare, has_text):
    found = look_of(sheet)
    assert (found.kind, found.is_bare, found.has_text) == (kind, is_bare, has_text)
    assert (found.scan is not None) == (kind is PdfPageKind.SCAN)


@pytest.mark.parametrize(
    ("stream", "is_g4"),
    [
        (ccitt(GREY > 99), True),
        (ccitt(GREY > 99, Filter=Array([Name.CCITTFaxDecode])), True),
        (ccitt(GREY > 99, DecodeParms=Array([Dictionary(K=-1, Columns=42)])), True),
        (ccitt(GREY > 99, DecodeParms=Dictionary(K=0, Columns=42)), False),  # G3
        (ccitt(GREY > 99, DecodeParms=Dictionary(K=4, Columns=42)), False),
        (ccitt(GREY > 99, DecodeParms=Array([])), False),
        (flate(GREY > 99), False),
        (jpeg(GREY), False),
    ],
)
def test_a_scan_in_g4_is_known_by_its_negative_k(stream, is_g4):
    data = paper(Sheet(stream))
    with open_pdf(data) as document:
        scan = describe_page(document, 0).scan
        assert scan is not None
        assert pdf_reader.is_g4(document, scan) == is_g4
    assert read_header(data, LimitSettings()).pages[0].is_g4 == is_g4


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("matrix", "turns"),
    [
        ((595, 0, 0, 842, 0, 0), 0),
        ((0, -842, 595, 0, 0, 842), 1),
        ((-595, 0, 0, -842, 595, 842), 2),
        ((0, 842, -595, 0, 595, 0), 3),
        ((594, 20, -28, 841, 14, -10), 0),
    ],
)
def test_a_scan_says_how_it_is_turned_to_be_shown(matrix, turns, rotate):
    found = look_of(Sheet(flate(GREY), matrix=matrix, rotate=rotate))
    assert found.quarter_turns == (turns + rotate // 90) % 4


def test_a_scan_is_found_in_forms_and_measured_in_the_units_of_its_page():
    def form(document):
        inner = Dictionary(XObject=Dictionary(Im1=flate(GREY)(document)))
        content = b"q 1 0 0 1 0 0 cm /Im1 Do Q"
        keys = {
            "Subtype": Name.Form,
            "BBox": [0, 0, 1, 1],
            "Resources": inner,
            "Matrix": [A4_PT[0], 0, 0, A4_PT[1], 0, 0],
        }
        return document.make_stream(content, Type=Name.XObject, **keys)

    found = look_of(Sheet(form, matrix=(1, 0, 0, 1, 0, 0), more={"/UserUnit": 2}))
    assert found.kind is PdfPageKind.SCAN
    assert found.scan.dpi == pytest.approx((60 * 72 / 842 / 2, 42 * 72 / 595 / 2))


def test_forms_without_end_are_damage_and_no_crash():
    def form(document):
        made = document.make_stream(b"/Im1 Do", Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 1, 1])
        made = document.make_indirect(made)
        made.Resources = Dictionary(XObject=Dictionary(Im1=made))
        return made

    with pytest.raises(PageError) as caught:
        look_of(Sheet(form))
    assert (caught.value.reason, caught.value.failed) == ("damaged", True)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (flate(GREY), GREY),
        (flate(GREY, Decode=[1, 0]), 255 - GREY),
        (flate(GREY > 99), np.where(GREY > 99, 255, 0)),
        (flate(GREY > 99, Decode=[1, 0]), np.where(GREY > 99, 0, 255)),
        (flate(np.dstack([GREY, GREY.T.reshape(60, 42), GREY])), np.dstack([GREY, GREY.T.reshape(60, 42), GREY])),
        (
            flate(GREY, ColorSpace=Array([Name.Indexed, Name.DeviceRGB, 255, bytes(range(256)).translate(None) * 3])),
            np.dstack([(GREY.astype(int) * 3 + channel) % 256 for channel in range(3)]),
        ),
    ],
)
def test_the_image_is_taken_out_as_it_is_stored(stream, expected):
    from foliopress.configs.settings import LimitSettings
    from foliopress.tasks.documents import read_page

    page = read_page(paper(Sheet(stream)), 0, LimitSettings())
    assert np.array_equal(page.pixels, expected)


def test_a_signature_or_rights_are_seen_however_deep_the_field_lies():
    def signed(document):
        leaf = Dictionary(FT=Name.Sig, T="s", V=Dictionary(Type=Name.Sig))
        document.Root.AcroForm = Dictionary(Fields=Array([Dictionary(T="g", Kids=Array([leaf]))]))

    def with_rights(document):
        document.Root.Perms = Dictionary(UR3=Dictionary())

    def unsigned(document):
        document.Root.AcroForm = Dictionary(Fields=Array([Dictionary(FT=Name.Sig, T="s")]))

    found = []
    for finish in (signed, with_rights, unsigned, lambda _: None):
        with open_pdf(paper(Sheet(flate(GREY)), finish=finish)) as document:
            found.append(pdf_reader.is_signed(document))
    assert found == [True, True, False, False]


@pytest.mark.parametrize("password", ["", "secret"])
def test_an_encrypted_document_is_told_apart_from_a_broken_one(password):
    data = paper(Sheet(flate(GREY)), encryption=pikepdf.Encryption(user=password, owner="owner"))
    with pytest.raises(PageError) as caught:
        open_pdf(data)
    assert (caught.value.reason, caught.value.failed) == ("encrypted", False)
    with pytest.raises(PageError) as caught:
        open_pdf(b"%PDF-1.7\n nothing more")
    assert (caught.value.reason, caught.value.failed) == ("damaged", True)
    assert "0x" not in str(caught.value)
