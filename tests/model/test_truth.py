"""Test the parsing of truth files, and their assignment to scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.model.truth import data_folder, document_name, find_scans, parse_boxes, parse_layout, read_truth

ALTO = """<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Tags>
  <OtherTag ID="T1" LABEL="DefaultLine:Handwritten"/><OtherTag ID="T2" LABEL="DefaultLine:Print"/>
  <OtherTag ID="T3" LABEL="StampZone"/></Tags>
  <Layout><Page><PrintSpace>
    <TextBlock ID="b1"><Shape><Polygon POINTS="0 0 90 0 90 90 0 90"/></Shape>
      <TextLine TAGREFS="T1" HPOS="10" VPOS="20" WIDTH="30" HEIGHT="8">
        <Shape><Polygon POINTS="10 20 40 20 40 28 10 28"/></Shape><String CONTENT="Yours truly"/></TextLine>
      <TextLine TAGREFS="T2" HPOS="10" VPOS="40" WIDTH="30" HEIGHT="8">
        <String CONTENT="City"/><String CONTENT="Hall"/></TextLine>
    </TextBlock>
    <TextBlock ID="b2" TAGREFS="T3" HPOS="60" VPOS="60" WIDTH="20" HEIGHT="10"/>
  </PrintSpace></Page></Layout></alto>"""

PAGE = """<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"><Page>
  <TextRegion id="r1"><Coords points="0,0 50,0 50,30 0,30"/>
    <TextLine id="l1"><Coords points="5,5 45,5 45,12 5,12"/>
      <Word><Coords points="5,5 20,5 20,12 5,12"/><TextEquiv><Unicode>only the word</Unicode></TextEquiv></Word>
      <TextEquiv><Unicode>~~~ by hand</Unicode></TextEquiv></TextLine></TextRegion>
  <TextRegion id="r2"><Coords points="0,40 50,40 50,60 0,60"/></TextRegion>
  <GraphicRegion id="r3"><Coords points="60,0 90,0 90,30 60,30"/></GraphicRegion>
  <TextRegion id="r4"><Coords points="1,1 2,2"/></TextRegion></Page></PcGts>"""


def test_an_alto_line_keeps_its_polygon_text_and_hand() -> None:
    written, printed = parse_layout(ALTO.encode()).lines
    assert (written.kind, written.text) == ("handwritten", "Yours truly")
    assert (printed.kind, printed.text) == ("printed", "City Hall")
    assert written.polygon.tolist() == [[20, 10], [20, 40], [28, 40], [28, 10]]


def test_an_alto_line_without_an_outline_is_its_box() -> None:
    printed = parse_layout(ALTO.encode()).lines[1]
    assert printed.polygon.tolist() == [[40, 10], [40, 40], [48, 40], [48, 10]]


def test_typewriting_counts_as_print_and_is_known_by_its_label() -> None:
    typed = parse_layout(ALTO.replace("DefaultLine:Print", "DefaultLine:Typewritten").encode()).lines
    assert [(line.kind, line.is_typewritten) for line in typed] == [("handwritten", False), ("printed", True)]
    assert not any(line.is_typewritten for line in parse_layout(ALTO.encode()).lines)


@pytest.mark.parametrize(
    ("collection", "lines"),
    [
        ("ehri-typed", [("handwritten", False), ("printed", True)]),
        ("tapuscorpus", [("handwritten", False), ("printed", True)]),
        ("hooker-handwriting", [("handwritten", False), ("handwritten", False)]),
        ("ocrd-gt", [("handwritten", False), ("printed", False)]),
    ],
)
def test_what_a_label_leaves_open_the_collection_may_say(
    collection: str, lines: list[tuple[str, bool]], tmp_path: Path
) -> None:
    path = tmp_path / collection / "truth" / "a.xml"
    path.parent.mkdir(parents=True)
    path.write_text(ALTO)
    assert [(line.kind, line.is_typewritten) for line in read_truth(path).lines] == lines


def test_a_block_labelled_as_stamp_is_a_graphic_region_and_one_with_lines_is_none() -> None:
    (region,) = parse_layout(ALTO.encode()).regions
    assert region.kind == "graphic"
    assert region.polygon.min(axis=0).tolist() == [60, 60]
    assert region.polygon.max(axis=0).tolist() == [70, 80]


def test_a_page_line_takes_its_own_text_and_outline_not_those_of_its_words() -> None:
    (line,) = parse_layout(PAGE.encode()).lines
    assert (line.kind, line.text) == ("handwritten", "~~~ by hand")
    assert line.polygon.tolist() == [[5, 5], [5, 45], [12, 45], [12, 5]]


def test_page_regions_without_lines_are_text_or_graphic_and_degenerate_ones_are_dropped() -> None:
    assert [region.kind for region in parse_layout(PAGE.encode()).regions] == ["text", "graphic"]


def test_receipt_boxes_keep_commas_in_their_text_and_skip_other_rows() -> None:
    truth = parse_boxes("x1,y1,x2,y2,x3,y3,x4,y4,text\n1,2,9,2,9,6,1,6,RM 1,200.00\n\n1,2,3\n")
    (line,) = truth.lines
    assert line.text == "RM 1,200.00"
    assert line.polygon.tolist() == [[2, 1], [2, 9], [6, 9], [6, 1]]


@pytest.mark.parametrize(
    ("collection", "stem", "document"),
    [
        ("ocrd-gt", "clauren_mimil_1815_0023", "clauren_mimil_1815"),
        ("tapuscorpus", "12148-btv1b53097347b__13_3536f_default", "12148-btv1b53097347b"),
        ("leptonica", "1555.003", "1555"),
        ("sroie-receipts", "112", "112"),
        ("stanford-letters", "SC0033B_s4_b01_f14_i083", "SC0033B_s4_b01_f14_i083"),
    ],
)
def test_pages_of_one_document_share_its_name(collection: str, stem: str, document: str) -> None:
    assert document_name(collection, stem) == f"{collection}/{document}"


def test_scans_are_found_by_split_with_their_truth(tmp_path: Path) -> None:
    (tmp_path / "c" / "truth").mkdir(parents=True)
    (tmp_path / "c" / "truth" / "a.csv").write_text("0,0,9,0,9,9,0,9,A")
    (tmp_path / "manifest.csv").write_text(
        "path,split,role\nc/images/a.jpg,train,image\nc/truth/a.csv,train,truth\nc/images/k_INPUT_1.tif,train,image\n"
        "c/truth/k_PAGE_1_PAGE.xml,train,truth\nc/images/b.jpg,train,image\nc/images/t.jpg,test,image\n"
        "c/images/d.pdf,train,image\n"
    )
    scans = find_scans(tmp_path, "train")
    assert [(scan.path.name, scan.truth and scan.truth.name) for scan in scans] == [
        ("a.jpg", "a.csv"),
        ("k_INPUT_1.tif", "k_PAGE_1_PAGE.xml"),
        ("b.jpg", None),
    ]
    assert scans[0].truth is not None
    assert np.array_equal(read_truth(scans[0].truth).lines[0].polygon.max(axis=0), [9, 9])


def test_a_folder_without_a_manifest_and_an_empty_split_are_settings_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"manifest\.csv"):
        data_folder(tmp_path)
    (tmp_path / "manifest.csv").write_text("path,split,role\n")
    with pytest.raises(ConfigError, match="'train'"):
        find_scans(data_folder(tmp_path), "train")
