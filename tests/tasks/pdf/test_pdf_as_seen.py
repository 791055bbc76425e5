"""Test the visible state of a page: layers, annotations, form fields, crops, clips and transparency."""

import time

import numpy as np
import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.documents import read_header, read_page
from foliopress.tasks.pdf import multi_image, pdf_reader
from foliopress.tasks.pdf.pdf_reader import PdfPageKind, describe_page, open_pdf
from tests.papers import A4_PT, Sheet, flate, hidden, paper, shown

GREY = np.add.outer(3 * np.arange(84), np.arange(60)).astype(np.uint8)
OTHER = np.ascontiguousarray(GREY[::-1])
FULL = (A4_PT[0], 0, 0, A4_PT[1], 0, 0)
DRAW = " q 595 0 0 842 0 0 cm /Im1 Do Q "


def layered(content, *, config=None, oc=None, membership=None, bound="group", name="a", stream=None, second=None):
    """Return a page of two images; `second` belongs to a layer, by its own key or by marked content."""

    def finish(document):
        groups = {key: document.make_indirect(Dictionary(Type=Name.OCG, Name=key, **(oc or {}))) for key in ("a", "b")}
        default = Dictionary()
        for key, value in (config or {}).items():
            default[f"/{key}"] = Array([groups[one] for one in value]) if isinstance(value, list) else value
        if "usage" in (config or {}):
            category = Array([default["/usage"]])
            del default["/usage"]
            default.AS = Array([Dictionary(Event=Name.View, Category=category, OCGs=Array([groups["a"]]))])
        document.Root.OCProperties = Dictionary(OCGs=Array(list(groups.values())), D=default)
        held = groups[name]
        if membership is not None:
            keys = {key: value for key, value in membership.items() if key != "members"}
            members = Array([groups[one] for one in membership["members"]])
            held = document.make_indirect(Dictionary(Type=Name.OCMD, OCGs=members, **keys))
        page = document.pages[0]
        page.Resources.XObject.Im1 = (second or flate(OTHER))(document)
        page.Resources.Properties = Dictionary(L=held)
        if bound == "image":
            page.Resources.XObject.Im1.OC = held
        if bound == "form":
            form = document.make_stream(b"/Im1 Do", Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 1, 1], OC=held)
            form.Resources = Dictionary(XObject=Dictionary(Im1=page.Resources.XObject.Im1))
            page.Resources.XObject.Im1 = form

    return paper(Sheet(stream or flate(GREY), above=content), finish=finish)


MARKED = f" /OC /L BDC {DRAW} EMC "
STATES = [
    ({}, None, True),
    ({"OFF": ["a"]}, None, False),
    ({"OFF": ["b"]}, None, True),
    ({"BaseState": Name.OFF}, None, False),
    ({"BaseState": Name.OFF, "ON": ["a"]}, None, True),
    ({"OFF": ["a"]}, {"members": ["a", "b"]}, True),
    ({"OFF": ["a"]}, {"members": ["a", "b"], "P": Name.AllOn}, False),
    ({"OFF": ["a"]}, {"members": ["a", "b"], "P": Name.AnyOff}, True),
    ({"OFF": ["a"]}, {"members": ["a", "b"], "P": Name.AllOff}, False),
    ({"OFF": ["a", "b"]}, {"members": ["a", "b"], "P": Name.AllOff}, True),
    ({"OFF": ["a"]}, {"members": []}, True),
]


@pytest.mark.parametrize("bound", ["marks", "image", "form"])
@pytest.mark.parametrize(("config", "membership", "is_shown"), STATES)
def test_an_image_in_a_layer_counts_where_pdfium_shows_it(config, membership, is_shown, bound):
    data = layered(MARKED if bound == "marks" else DRAW, config=config, membership=membership, bound=bound)
    drawn = pdf_reader.render_page(data, 0, 72)[..., 0]
    seen = OTHER if is_shown else GREY
    assert abs(int(drawn[20, 300]) - int(seen[2, 30])) < 12  # as in pdfium
    with open_pdf(data) as document:
        found = describe_page(document, 0)
    assert len(found.images) == (2 if is_shown else 1)
    assert found.kind is (PdfPageKind.COMPOSED if is_shown else PdfPageKind.SCAN)
    assert len(found.unseen) == (0 if is_shown else 1)
    if not is_shown:
        assert np.array_equal(read_page(data, 0, LimitSettings()).pixels, GREY)


@pytest.mark.parametrize("state", ["ON", "OFF"])
@pytest.mark.parametrize("is_off", [False, True])
@pytest.mark.parametrize("has_rule", [False, True])
def test_what_a_layer_is_used_for_counts_where_the_document_says_so(has_rule, is_off, state):
    config = ({"OFF": ["a"]} if is_off else {}) | ({"usage": Name.View} if has_rule else {})
    usage = {"Usage": Dictionary(View=Dictionary(ViewState=Name(f"/{state}")))}
    data = layered(MARKED, config=config, oc=usage)
    with open_pdf(data) as document:
        found = describe_page(document, 0)
    is_contradicted = (state == "OFF") != is_off
    assert found.has_unclear_layers == (is_contradicted and not has_rule)
    if not found.has_unclear_layers:
        assert len(found.images) == (1 if state == "OFF" else 2)
        seen = OTHER if state == "ON" else GREY
        assert abs(int(pdf_reader.render_page(data, 0, 72)[20, 300, 0]) - int(seen[2, 30])) < 12


def test_a_hidden_scan_over_a_shown_one_is_neither_read_nor_written_and_no_other_pages_either():
    from foliopress.configs.settings import EncodeSettings
    from foliopress.tasks.codecs import encode
    from foliopress.tasks.pdf.image_streams import CodedImage
    from foliopress.tasks.pdf.pdf_writer import NewPage, rewrite_pdf

    data = layered(MARKED, config={"OFF": ["a"]})
    image = CodedImage(encode.encode(GREY, "jpeg", 90, encode.CarriedMetadata(), EncodeSettings()), "jpeg")
    with open_pdf(rewrite_pdf(data, [NewPage(0, image)])) as document:
        images = document.pages[0].Resources.XObject
        assert str(images.Im0.Filter) == "/DCTDecode"
        assert np.array_equal(np.frombuffer(images.Im1.read_bytes(), np.uint8).reshape(OTHER.shape), OTHER)


@pytest.mark.parametrize(
    ("config", "membership"),
    [
        ({"usage": Name.Zoom}, None),
        ({}, {"members": ["a"], "VE": Array([Name.Not])}),
        ({}, {"members": ["a"], "P": Name.Some}),
    ],
    ids=["by use", "by expression", "by a rule unheard of"],
)
def test_a_page_whose_layers_are_not_understood_stays_as_it_is(config, membership):
    noise = np.random.default_rng(1).integers(0, 256, (200, 150)).astype(np.uint8)
    data = layered(MARKED, config=config, membership=membership, stream=flate(noise), second=flate(noise[::-1]))
    (header,) = read_header(data, LimitSettings()).pages
    assert (header.problem.reason, header.parts) == ("composed_page", ())
    assert read_header(data, LimitSettings(), as_drawn=True).pages[0].problem is None  # which pdfium does


def test_layers_go_along_when_a_page_is_taken_out():
    data = layered(MARKED, config={"OFF": ["a"]})
    alone = multi_image.extract_page(data, 0, (0,), 72).pdf
    assert np.array_equal(pdf_reader.render_page(alone, 0, 72), pdf_reader.render_page(data, 0, 72))
    with open_pdf(alone) as document:
        assert len(describe_page(document, 0).images) == 1


def test_the_image_of_a_hidden_layer_is_not_changed_for_another_page():
    def finish(document):
        group = document.make_indirect(Dictionary(Type=Name.OCG, Name="a"))
        document.Root.OCProperties = Dictionary(OCGs=Array([group]), D=Dictionary(OFF=Array([group])))
        first, second = document.pages
        first.Resources.Properties = Dictionary(L=group)
        first.Resources.XObject.Im1 = second.Resources.XObject.Im0

    data = paper(Sheet(flate(GREY), above=MARKED), Sheet(flate(OTHER)), finish=finish)
    assert [page.problem and page.problem.reason for page in read_header(data, LimitSettings()).pages] == [
        None,
        "shared_image",
    ]


def appearance(document, content=b"1 0 0 rg 0 0 100 40 re f"):
    return document.make_stream(content, Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 100, 40])


def with_annotation(keys, has_appearance=True, field=None):
    def finish(document):
        note = document.make_indirect(Dictionary(Type=Name.Annot, Rect=[100, 100, 200, 140], **keys))
        if has_appearance:
            note.AP = Dictionary(N=appearance(document))
        document.pages[0].Annots = Array([note])
        if field:
            document.Root.AcroForm = Dictionary(Fields=Array([note]))

    return {"finish": finish}


def in_state(**keys):
    def finish(document):
        document.pages[0].Resources.ExtGState = Dictionary(G=Dictionary(**keys))

    return {"under": " /G gs ", "finish": finish}


def soft_mask(document):
    form = document.make_stream(b"0.3 g 0 0 595 842 re f", Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 595, 842])
    form.Group = Dictionary(S=Name.Transparency, CS=Name.DeviceGray)
    mask = Dictionary(Type=Name.Mask, S=Name.Luminosity, G=form)
    document.pages[0].Resources.ExtGState = Dictionary(G=Dictionary(SMask=mask))


SEEN = {
    "nothing else": ({}, True),
    "hidden text": ({"above": hidden("words")}, True),
    "a link": (with_annotation({"Subtype": Name.Link}, has_appearance=False), True),
    "a hidden stamp": (with_annotation({"Subtype": Name.Stamp, "F": 2}), True),
    "a stamp": (with_annotation({"Subtype": Name.Stamp, "F": 4}), False),
    "a link that is drawn": (with_annotation({"Subtype": Name.Link, "F": 4}), False),
    "a note without an appearance": (
        with_annotation({"Subtype": Name.Square, "F": 4, "C": [1, 0, 0], "IC": [1, 0, 0]}, has_appearance=False),
        False,
    ),
    "a form field": (
        with_annotation({"Subtype": Name.Widget, "F": 4, "FT": Name.Tx, "T": "name", "V": "A. Clerk"}, field=True),
        False,
    ),
    "the right half": ({"more": {"/CropBox": [297, 0, 595, 842]}}, False),
    "all but a hair": ({"more": {"/CropBox": [0.5, 0.5, 594.5, 841.5]}}, True),
    "a crop wider than the page": ({"more": {"/CropBox": [-50, -50, 700, 900]}}, True),
    "a white margin": ({"matrix": (575, 0, 0, 822, 10, 10)}, True),
    "a line in the margin": ({"matrix": (575, 0, 0, 822, 10, 10), "under": " 0 0 595 5 re f "}, False),
    "something covered": ({"under": " 0 0 595 5 re f "}, True),
    "a clip that cuts nothing": ({"under": " 0 0 595 842 re W n "}, True),
    "a clip drawn by lines": ({"under": " 0 0 m 595 0 l 595 842 l 0 842 l h W n "}, True),
    "a clip that cuts": ({"under": " 0 200 595 642 re W* n "}, False),
    "a round clip": ({"under": " 0 0 m 300 900 600 900 595 0 c h W n "}, False),
    "a clip before a clip": ({"under": " 0 200 595 642 re W n 0 0 595 842 re W n "}, False),
    "a clip that is over": ({"under": " q 0 200 595 642 re W n Q "}, True),
    "a little askew": ({"matrix": (594, 14, -20, 841, 10, -7)}, False),
    "half transparent": (in_state(ca=0.5), False),
    "opaque": (in_state(ca=1, BM=Name.Normal, SMask=Name("/None")), True),
    "multiplied": (in_state(BM=Name.Multiply), False),
    "softly masked": ({"under": " /G gs ", "finish": soft_mask}, False),
    "a visible word": ({"above": shown("Received")}, False),
}


@pytest.mark.parametrize("kind", SEEN)
def test_a_scan_is_its_page_only_where_a_reader_sees_all_of_it_and_nothing_else(kind):
    held, is_bare = SEEN[kind]
    keys = {name: value for name, value in held.items() if name != "finish"}
    finish = held.get("finish", lambda document: None)
    data = paper(Sheet(flate(GREY), **keys), finish=finish)
    with open_pdf(data) as document:
        found = describe_page(document, 0)
    assert (found.kind, found.is_bare) == (PdfPageKind.SCAN, is_bare)
    page = read_page(data, 0, LimitSettings(), as_drawn=True)
    header = read_header(data, LimitSettings(), as_drawn=True).pages[0]
    assert np.abs(np.subtract((header.height_px, header.width_px), page.pixels.shape[:2])).max() <= 1
    assert np.array_equal(page.pixels, GREY) or not is_bare
    assert np.array_equal(read_page(data, 0, LimitSettings()).pixels, GREY)  # these go back into the PDF
    if not is_bare:
        drawn = pdf_reader.render_page(data, 0, page.dpi, with_annotations=True)
        assert np.array_equal(page.pixels if page.pixels.ndim == 3 else np.dstack([page.pixels] * 3), drawn)


@pytest.mark.parametrize("kind", ["a stamp", "a form field", "a note without an appearance"])
def test_annotations_and_fields_stand_on_the_image_of_a_page(kind):
    held, _ = SEEN[kind]
    data = paper(Sheet(flate(np.full((842, 595), 240, np.uint8))), finish=held["finish"])
    pixels = read_page(data, 0, LimitSettings(), as_drawn=True).pixels
    inside = pixels[842 - 130 : 842 - 110, 120:180].reshape(-1, 3)
    assert (inside[:, 0] > inside[:, 1] + 100).mean() > 0.9  # red
    assert (pixels[:600] == 240).all()


def test_two_halves_of_a_spread_are_two_pages():
    spread = np.full((595, 842), 250, np.uint8)
    spread[:, :421] = 60
    sheets = [
        Sheet(
            flate(spread),
            matrix=(842, 0, 0, 595, 0, 0),
            more={"/MediaBox": [0, 0, 842, 595], "/CropBox": [left, 0, left + 421, 595]},
        )
        for left in (0, 421)
    ]
    data = paper(*sheets)
    for number, level in enumerate((60, 250)):
        pixels = read_page(data, number, LimitSettings(), as_drawn=True).pixels
        assert pixels.shape == (595, 421) and np.abs(pixels[:, 2:-2].astype(int) - level).max() <= 1


def nested(n_wide, n_deep):
    def form(document):
        inner = None
        for _ in range(n_deep):
            content = b"/F Do " * n_wide if inner is not None else b"0 0 1 1 re f " * n_wide
            made = document.make_stream(content, Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 1, 1])
            if inner is not None:
                made.Resources = Dictionary(XObject=Dictionary(F=inner))
            inner = document.make_indirect(made)
        return inner

    return form


def test_a_page_of_forms_without_measure_is_kept_in_little_time_and_its_neighbours_are_read():
    data = paper(Sheet(nested(30, 8)), Sheet(flate(GREY)), Sheet(nested(10, 3)))
    start = time.process_time()
    headers = read_header(data, LimitSettings()).pages
    assert time.process_time() - start < 5
    found = [(page.problem.reason, page.problem.failed) if page.problem else None for page in headers]
    assert found == [("too_complex", False), None, ("digital_page", False)]


def test_what_a_page_shows_and_does_not_have_is_passed_over():
    data = paper(Sheet(flate(GREY), above=" /Gone Do /Missing gs "))
    with open_pdf(data) as document:
        assert describe_page(document, 0).is_bare


def test_what_is_no_annotation_is_passed_over():
    def finish(document):
        document.pages[0].Annots = Array([pikepdf.String("no annotation")])

    with open_pdf(paper(Sheet(flate(GREY)), finish=finish)) as document:
        assert describe_page(document, 0).is_bare
