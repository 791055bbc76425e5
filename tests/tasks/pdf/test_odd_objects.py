"""Test PDFs with values of unexpected types: their pages get rows, and no other error is raised."""

import io
import random

import numpy as np
import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, StreamDecodeLevel, String

from foliopress.configs.settings import DocumentSettings, Settings
from foliopress.flows.steps.document_plan import open_document
from foliopress.tasks import documents
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.pdf import multi_image, pdf_writer
from foliopress.tasks.storage.source_listing import Document
from tests.papers import Sheet, ccitt, everything_else, flate, hidden, jpeg, paper, shown

GREY = np.full((60, 50), 200, np.uint8)
GREY[::3] = 9
RGB = np.dstack([GREY, GREY // 2, GREY])
NUMBER_WITHOUT_END = b"9" * 400
WORDS = [Word(0, 10, 10, 8, 20, "odd", 95.0)]


def layered(document):
    """Add every kind of object that is read."""
    everything_else(document)
    group = document.make_indirect(Dictionary(Type=Name.OCG, Name="l"))
    rule = Dictionary(Event=Name.View, Category=Array([Name.View]), OCGs=Array([group]))
    shown_ = Dictionary(ON=Array([group]), OFF=Array([]), AS=Array([rule]))
    document.Root.OCProperties = Dictionary(OCGs=Array([group]), D=shown_)
    state = Dictionary(ca=1, BM=Name.Normal, SMask=Name("/None"), TR=Name.Identity)
    form = document.make_stream(b"0 0 1 1 re f", Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 1, 1])
    form.Matrix = Array([1, 0, 0, 1, 0, 0])
    for page in document.pages:
        page.Resources.Properties = Dictionary(L=Dictionary(Type=Name.OCMD, OCGs=Array([group]), P=Name.AnyOn))
        page.Resources.ExtGState, page.Resources.XObject.F0 = Dictionary(G=state), form
    stamp = Dictionary(Type=Name.Annot, Subtype=Name.Stamp, Rect=[1, 1, 2, 2], F=4)
    document.pages[0].Annots.append(document.make_indirect(stamp))


def indexed(document):
    return Array([Name.Indexed, Name.DeviceRGB, 255, document.make_stream(bytes(768))])


WHOLE = paper(
    Sheet(jpeg(RGB), above=" /OC /L BDC /F0 Do EMC /G gs " + hidden("a")),
    Sheet(ccitt(GREY > 100)),
    Sheet(flate(GREY, ColorSpace=indexed)),
    Sheet(flate(RGB), matrix=(595, 0, 0, 400, 0, 0), above=" q 595 0 0 442 0 400 cm /Im0 Do Q "),
    Sheet(None, above=shown("x")),
    finish=layered,
)
SCAN = paper(Sheet(flate(GREY), above=hidden("a")))
SAME, DRAWN = Settings(documents=DocumentSettings(text_layer=True)), Settings(documents=DocumentSettings(pdf="pages"))


def reasons(data, settings=SAME):
    """Run all readers over a document, and return the reasons of all errors."""
    found = []
    source = open_document(Document("a.pdf", len(data), "1"), data, settings)
    if source.problem is not None:
        return [source.problem.reason]
    new = []
    for page in source.header.pages:
        try:
            if page.problem is not None:
                raise page.problem
            if page.parts:
                multi_image.read_images(multi_image.extract_page(data, page.page_index, page.parts, 72), settings)
            is_drawn = settings.documents.pdf == "pages"
            pixels = documents.read_page(data, page.page_index, settings.limits, as_drawn=is_drawn).pixels
            image = None
            if not page.parts:
                coded = encode.encode(pixels, "jpeg", 50, encode.CarriedMetadata(), settings.encode)
                image = pdf_writer.CodedImage(coded, "jpeg")
            new.append(pdf_writer.NewPage(page.page_index, image, pdf_writer.NewText(WORDS, pixels.shape[:2])))
        except PageError as error:
            found.append(error.reason)
    if settings.documents.pdf == "same":
        try:
            pdf_writer.rewrite_pdf(data, new, 65_536)
        except PageError as error:
            found.append(error.reason)
    return found


def saved(document):
    buffer = io.BytesIO()
    document.save(
        buffer,
        static_id=True,
        fix_metadata_version=False,
        compress_streams=False,
        stream_decode_level=StreamDecodeLevel.none,
    )
    return buffer.getvalue()


def with_changes(data, change):
    with pikepdf.open(io.BytesIO(data)) as document:
        change(document, document.pages[0].obj)
        return saved(document)


def image_of(page):
    return page.Resources.XObject.Im0


def put(where, key, value):
    def change(document, page):
        target = {"page": page, "root": document.Root, "resources": page.Resources, "image": image_of(page)}[where]
        target[key] = value(document) if callable(value) else value

    return change


CHANGES = {
    "fonts that are a name": put("resources", "/Font", Name.Odd),
    "fonts that are a number": put("resources", "/Font", 7),
    "resources that are text": put("page", "/Resources", String("odd")),
    "content that is a number": put("page", "/Contents", 7),
    "content of a dictionary": put("page", "/Contents", Array([Dictionary()])),
    "a page box of text": put("page", "/MediaBox", Array([String("a")] * 4)),
    "a page box that is a name": put("page", "/MediaBox", Name.Odd),
    "rotation by a name": put("page", "/Rotate", Name.Odd),
    "rotation by 7 degrees": put("page", "/Rotate", 7),
    "units of text": put("page", "/UserUnit", String("a")),
    "units of nothing": put("page", "/UserUnit", 0),
    "units below nothing": put("page", "/UserUnit", -1),
    "annotations that are a name": put("page", "/Annots", Name.Odd),
    "a parent that is a name": put("page", "/Parent", Name.Odd),
    "objects that are a name": put("resources", "/XObject", Name.Odd),
    "an image that is a dictionary": put("resources", "/XObject", Dictionary(Im0=Dictionary(Subtype=Name.Image))),
    "an image in a dictionary with sizes": put(
        "resources",
        "/XObject",
        Dictionary(Im0=Dictionary(Subtype=Name.Image, Width=5, Height=5, ColorSpace=Name.DeviceGray)),
    ),
    "a height of text": put("image", "/Height", String("a")),
    "a height below nothing": put("image", "/Height", -4),
    "a height of nothing": put("image", "/Height", 0),
    "a width of 2^63": put("image", "/Width", 2**63 - 1),
    "colours that are a number": put("image", "/ColorSpace", 7),
    "colours of nothing": put("image", "/ColorSpace", Array([])),
    "a profile that is a name": put("image", "/ColorSpace", Array([Name.ICCBased, Name.Odd])),
    "a palette of itself": put("image", "/ColorSpace", Array([Name.Indexed, Array([Name.Indexed]), 1, String("a")])),
    "bits of text": put("image", "/BitsPerComponent", String("a")),
    "bits below nothing": put("image", "/BitsPerComponent", -8),
    "a filter that is a number": put("image", "/Filter", 7),
    "filters of numbers": put("image", "/Filter", Array([7])),
    "parameters that are a name": put("image", "/DecodeParms", Name.Odd),
    "a decode of text": put("image", "/Decode", Array([String("a"), String("b")])),
    "a mask that is a name": put("image", "/SMask", Name.Odd),
    "a mask in its data that is text": put("image", "/SMaskInData", String("a")),
    "our mark that is a name": put("image", "/Foliopress", Name.Odd),
    "a size of ours that is a name": put("image", "/FoliopressSize", Name.Odd),
    "forms that are a name": put("root", "/AcroForm", Name.Odd),
    "fields that are a number": put("root", "/AcroForm", Dictionary(Fields=7)),
    "fields of numbers": put("root", "/AcroForm", Dictionary(Fields=Array([7]))),
    "flags of text": put("root", "/AcroForm", Dictionary(SigFlags=String("a"))),
    "layers that are a name": put("root", "/OCProperties", Name.Odd),
    "layers of numbers": put("root", "/OCProperties", Dictionary(OCGs=Array([7]), D=Dictionary(AS=Array([7])))),
    "metadata that are a name": put("root", "/Metadata", Name.Odd),
    "metadata that are no XML": put("root", "/Metadata", lambda document: document.make_stream(b"<a><b")),
    "metadata that cannot be unpacked": put(
        "root", "/Metadata", lambda document: document.make_stream(b"x", Filter=Name.FlateDecode)
    ),
}


@pytest.mark.parametrize("settings", [SAME, DRAWN], ids=["same", "pages"])
@pytest.mark.parametrize("what", CHANGES)
def test_a_value_of_another_type_is_a_problem_of_the_page_or_none(what, settings):
    reasons(with_changes(SCAN, CHANGES[what]), settings)  # raises nothing
    reasons(with_changes(WHOLE, CHANGES[what]), settings)


@pytest.mark.parametrize("settings", [SAME, DRAWN], ids=["same", "pages"])
@pytest.mark.parametrize("key", ["/MediaBox", "/CropBox", "/UserUnit", "/Rotate", "/Width", "/Height"])
def test_a_number_without_end_is_a_problem_of_the_page(key, settings):
    def change(document, page):
        place = image_of(page) if key in ("/Width", "/Height") else page
        is_box = key.endswith("Box")
        place[key] = Array([0, 0, 77777, 77777]) if is_box else 77777

    data = with_changes(SCAN, change).replace(b"77777", NUMBER_WITHOUT_END)
    assert reasons(data, settings)
    big = paper(Sheet(flate(GREY), matrix=(77777, 0, 0, 77777, 0, 0))).replace(b"77777", NUMBER_WITHOUT_END)
    reasons(big, settings)


def others(document, chance):
    """Return a value of any type."""
    values = (Name.Odd, 7, -1, 0, 2**31, 2**63 - 1, True, String("odd"), Array([]), Array([1, Name.A]), Dictionary())
    more = (document.make_stream(b"odd q Q"), chance.choice([one for one in document.objects if one is not None]))
    return chance.choice(values + more)


def places(document):
    """Return the place of each value of a document: its container, and its key or index there."""
    found, waiting = [], list(document.objects)
    while waiting:
        held = waiting.pop()
        is_array = isinstance(held, Array)
        if not is_array and not isinstance(held, Dictionary | pikepdf.Stream):
            continue
        for key in range(len(held)) if is_array else held.keys():
            found.append((held, key))
            if isinstance(held[key], Array | Dictionary) and not held[key].is_indirect:
                waiting.append(held[key])
    return found


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_whatever_value_is_replaced_by_one_of_another_type(seed):
    found = set()
    for number in range(60):
        chance = random.Random(f"{seed} {number}")
        with pikepdf.open(io.BytesIO(chance.choice([WHOLE, SCAN]))) as document:
            for held, key in chance.sample(places(document), chance.choice([1, 1, 2])):
                try:
                    held[key] = others(document, chance)
                except (ValueError, TypeError, KeyError, pikepdf.PikepdfError):
                    continue  # pikepdf cannot write it
            try:
                data = saved(document)
            except (pikepdf.PikepdfError, ValueError, TypeError, AttributeError, RuntimeError):
                continue
        found.update(reasons(data, chance.choice([SAME, DRAWN])))
    assert "damaged" in found
