"""Test rewritten PDFs: smaller scans in the same places, everything else unchanged."""

import io

import numpy as np
import pikepdf
import pypdfium2
import pytest
from pikepdf import Array, Name

from foliopress.configs.settings import EncodeSettings, LimitSettings
from foliopress.tasks.codecs import encode
from foliopress.tasks.documents import read_header, read_page
from foliopress.tasks.pdf import pdf_reader
from foliopress.tasks.pdf.image_streams import CodedImage
from foliopress.tasks.pdf.pdf_writer import NewPage, allows_jp2, rewrite_pdf
from tests.papers import Sheet, everything_else, flate, hidden, jpeg, paper, shown
from tests.scanners import LARGE

RAMP = (np.add.outer(np.arange(842), np.arange(595)) // 6 % 256).astype(np.uint8)
COLOUR = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])
LINES = np.add.outer(np.arange(842) // 7, np.arange(595) // 9) % 3 > 0


def new_image(pixels, codec="jpeg"):
    return CodedImage(encode.encode(pixels, codec, 90, encode.CarriedMetadata(), EncodeSettings()), codec)


def text_of(data):
    with pypdfium2.PdfDocument(data) as document:
        return [page.get_textpage().get_text_range() for page in document]


BOOK = paper(
    Sheet(flate(COLOUR), above=hidden("first leaf")),
    Sheet(jpeg(RAMP), above=shown("stamped")),
    Sheet(None, above=shown("typed")),
    finish=everything_else,
)


def test_only_the_scan_is_another_and_all_the_rest_is_kept():
    data = rewrite_pdf(BOOK, [NewPage(0, new_image(COLOUR))])
    assert text_of(data) == text_of(BOOK)
    with pdf_reader.open_pdf(BOOK) as before, pdf_reader.open_pdf(data) as after:
        assert after.check_pdf_syntax() == []
        assert len(after.pages) == 3
        assert bytes(after.pages[1].Resources.XObject.Im0.read_raw_bytes()) == bytes(
            before.pages[1].Resources.XObject.Im0.read_raw_bytes()
        )
        with after.open_outline() as outline:
            assert outline.root[0].title == "Second leaf"
        assert after.pages[0].label == before.pages[0].label == "iv"
        assert str(after.pages[0].Annots[0].A.URI) == "x:y"
        assert str(after.Root.AcroForm.Fields[0].V) == "A. Clerk"
        assert after.attachments["list.csv"].get_file().read_bytes() == b"a,b\n"
        assert str(after.docinfo["/Title"]) == "Minutes"
        assert after.open_metadata()["dc:title"] == "Minutes"
        assert bytes(after.Root.Metadata.read_bytes()) == bytes(before.Root.Metadata.read_bytes())
    for page_index in (1, 2):
        assert np.array_equal(
            pdf_reader.render_page(data, page_index, 72), pdf_reader.render_page(BOOK, page_index, 72)
        )
    assert np.abs(pdf_reader.render_page(data, 0, 72).astype(int) - pdf_reader.render_page(BOOK, 0, 72)).mean() < 4


@pytest.mark.parametrize("codec", ["jpeg", "jp2", "g4"])
@pytest.mark.parametrize(
    "stream",
    [
        flate(RAMP),
        flate(COLOUR),
        flate(LINES),
        flate(LINES, Decode=[1, 0]),
        flate(RAMP, ColorSpace=Array([Name.Indexed, Name.DeviceRGB, 255, bytes(range(256)) * 3])),
        flate(RAMP, ColorSpace=Array([Name.CalGray, pikepdf.Dictionary(WhitePoint=[0.95, 1, 1.09])])),
    ],
    ids=["grey", "colour", "lines", "inverted lines", "palette", "calibrated grey"],
)
@pytest.mark.parametrize("is_grey", [True, False])
def test_whatever_was_there_the_new_scan_is_what_shows(codec, stream, is_grey):
    pixels = LINES if codec == "g4" else RAMP if is_grey else COLOUR
    data = rewrite_pdf(paper(Sheet(stream)), [NewPage(0, new_image(pixels, codec))])
    expected = (pixels * 255 if codec == "g4" else pixels).astype(int)
    if expected.ndim == 2:
        expected = np.repeat(expected[..., np.newaxis], 3, axis=2)
    read = read_page(data, 0, LimitSettings()).pixels
    read = np.repeat(read[..., np.newaxis], 3, axis=2) if read.ndim == 2 else read
    for found in (pdf_reader.render_page(data, 0, 72), read):
        assert np.abs(found.astype(int) - expected).mean() < (0.01 if codec == "g4" else 6)


def test_a_profile_goes_on_to_hold_for_the_new_scan():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    space = lambda document: Array([Name.ICCBased, document.make_stream(profile, N=3)])  # noqa: E731
    data = rewrite_pdf(paper(Sheet(flate(COLOUR, ColorSpace=space))), [NewPage(0, new_image(COLOUR))])
    with pdf_reader.open_pdf(data) as document:
        assert pdf_reader.icc_of(document, pdf_reader.describe_page(document, 0).scan) == profile


@pytest.mark.parametrize("largest", [65_536, None])
def test_a_profile_larger_than_the_scans_gives_way_to_a_small_one_that_they_share(largest):
    held = []

    def space(document):
        held.append(held[0] if held else document.make_indirect(document.make_stream(LARGE, N=3)))
        return Array([Name.ICCBased, held[0]])

    source = paper(*[Sheet(flate(COLOUR, ColorSpace=space))] * 3)
    data = rewrite_pdf(source, [NewPage(number, new_image(COLOUR)) for number in (0, 1)], largest)
    with pdf_reader.open_pdf(data) as document:
        images = [document.pages[number].Resources.XObject.Im0 for number in range(3)]
        profiles = [image.ColorSpace[1] for image in images]
        small = profiles[0].read_bytes()
        assert profiles[0].objgen == profiles[1].objgen
        assert profiles[2].read_bytes() == LARGE  # the third page is unchanged
        assert (len(small) < 20_000 and int(profiles[0].N) == 3) if largest else small == LARGE
        assert document.check_pdf_syntax() == []
    new = rewrite_pdf(source, [NewPage(number, new_image(COLOUR)) for number in (0, 1, 2)], largest)
    assert (len(new) < len(LARGE)) == bool(largest)
    assert np.abs(pdf_reader.render_page(new, 0, 72).astype(int) - pdf_reader.render_page(source, 0, 72)).mean() < 5


def test_what_was_written_is_known_again_and_the_same_bytes_come_out():
    data = rewrite_pdf(BOOK, [NewPage(0, new_image(COLOUR))])
    assert data == rewrite_pdf(BOOK, [NewPage(0, new_image(COLOUR))])
    reasons = [page.problem and page.problem.reason for page in read_header(data, LimitSettings()).pages]
    assert reasons == ["already_compressed", None, "digital_page"]


def test_streams_and_their_order_in_objects_stay_as_they_were_packed():
    for saving in ({"object_stream_mode": pikepdf.ObjectStreamMode.generate}, {"linearize": True}):
        source = paper(Sheet(flate(COLOUR)), Sheet(None), finish=everything_else, **saving)
        data = rewrite_pdf(source, [NewPage(0, new_image(COLOUR))])
        with pdf_reader.open_pdf(source) as before, pdf_reader.open_pdf(data) as after:
            assert after.is_linearized == before.is_linearized
            assert after.check_pdf_syntax() == []
        assert len(data) < len(source)


def test_jpeg_2000_raises_the_version_and_stays_out_of_the_first_pdf_a():
    def archival(document):
        with document.open_metadata() as told:
            told["pdfaid:part"], told["pdfaid:conformance"] = "1", "B"

    data = rewrite_pdf(paper(Sheet(flate(COLOUR)), force_version="1.3"), [NewPage(0, new_image(COLOUR, "jp2"))])
    assert pikepdf.open(io.BytesIO(data)).pdf_version == "1.5"
    assert not allows_jp2(paper(Sheet(flate(COLOUR)), finish=archival))
    assert allows_jp2(paper(Sheet(flate(COLOUR))))
