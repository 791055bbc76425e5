"""Read the ground truth of scans: marked lines and regions from ALTO, PAGE and SROIE files."""

from __future__ import annotations

import csv
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from foliopress.configs.errors import ConfigError

LineKind = Literal["printed", "handwritten"]
RegionKind = Literal["text", "graphic"]

DATA_VARIABLE = "FOLIOPRESS_DATA"
DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

_HANDWRITTEN_LABELS = ("handwrit", "signature")
_TYPEWRITTEN_LABEL = "typewrit"
_HANDWRITTEN_MARK = "~~~"  # tapuscorpus writes it for each handwritten word
_GRAPHIC_LABELS = ("graphic", "illustration", "stamp", "image", "figure", "ornament")
_GRAPHIC_REGIONS = (
    "GraphicRegion",
    "ImageRegion",
    "LineDrawingRegion",
    "ChartRegion",
    "Illustration",
    "GraphicalElement",
)
_TEXT_REGIONS = ("TextRegion", "TableRegion")
# Page suffix after a document's name: `_0105`, `.003`, `__4_1345a_default`, `_11082_L-medium`.
_PAGE_OF_DOCUMENT = re.compile(r"(__.*|[_.\-](page_?|FILE_)?\d+(_L-medium|_B)?(_(IMAGE|PAGE))?)$")
_LETTERS_APART = ("stanford-letters",)  # one file is one letter, whatever the numbers in its name
# Kind of the lines in these collections unless the line itself specifies it.
_TYPEWRITTEN_COLLECTIONS = ("ehri-typed", "tapuscorpus")
_HANDWRITTEN_COLLECTIONS = ("hooker-handwriting",)


@dataclass(frozen=True, eq=False)
class TruthLine:
    """One line of text; `polygon` is (n, 2) float64 of (row_px, col_px) in upright source pixels.

    Typewriting counts as print, distinguished by `is_typewritten`.
    """

    polygon: np.ndarray
    text: str
    kind: LineKind
    is_typewritten: bool = False


@dataclass(frozen=True, eq=False)
class TruthRegion:
    """A region whose lines were not marked individually, or which holds a picture; polygon as in `TruthLine`."""

    polygon: np.ndarray
    kind: RegionKind


@dataclass(frozen=True)
class PageTruth:
    """All lines and regions marked on a page."""

    lines: tuple[TruthLine, ...]
    regions: tuple[TruthRegion, ...]


@dataclass(frozen=True)
class Scan:
    """One image of the data folder; `truth` is None if it is unmarked."""

    key: str
    path: Path
    split: str
    collection: str
    document: str
    truth: Path | None


def data_folder(given: Path | None = None) -> Path:
    """Return the folder of scans: the one given, else `FOLIOPRESS_DATA`, else `../shared/data`.

    Raises:
        ConfigError: If it contains no `manifest.csv`.
    """
    folder = given or Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA)
    if not (folder / "manifest.csv").is_file():
        raise ConfigError(
            f"no scans in {folder}: manifest.csv is missing; pass the folder with --data or {DATA_VARIABLE}"
        )
    return folder


def find_scans(data: Path, split: str) -> tuple[Scan, ...]:
    """Return the images of a split in manifest order, each with its truth file if it has one. PDFs are skipped.

    Args:
        data: Folder with `manifest.csv` (columns `path`, `split`, `role`) and the files that it lists.
        split: `train` or `test`.

    Raises:
        ConfigError: If the split has no images.
    """
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    truths = [Path(row["path"]) for row in rows if row["role"] == "truth"]
    scans = []
    for row in rows:
        path = Path(row["path"])
        if row["role"] != "image" or row["split"] != split or path.suffix.lower() == ".pdf":
            continue
        collection = path.parts[0]
        truth = _truth_of(path.stem, [other for other in truths if other.parts[0] == collection])
        scans.append(
            Scan(
                key=path.as_posix(),
                path=data / path,
                split=split,
                collection=collection,
                document=document_name(collection, path.stem),
                truth=data / truth if truth else None,
            )
        )
    if not scans:
        raise ConfigError(f"{data / 'manifest.csv'} lists no image for split {split!r}")
    return tuple(scans)


def document_name(collection: str, stem: str) -> str:
    """Return the document that a page belongs to; its pages are never split between training and validation.

    >>> document_name("ehri-typed", "EHRI-DR-19390125-US_01"), document_name("sroie-receipts", "009")
    ('ehri-typed/EHRI-DR-19390125-US', 'sroie-receipts/009')
    >>> document_name("tapuscorpus", "FRAN_0011_11082_L-medium")
    'tapuscorpus/FRAN_0011'
    """
    if collection in _LETTERS_APART:
        return f"{collection}/{stem}"
    return f"{collection}/{_PAGE_OF_DOCUMENT.sub('', stem) or stem}"


def read_truth(path: Path) -> PageTruth:
    """Read one truth file: ALTO or PAGE (`.xml`), or SROIE boxes (`.csv`).

    Args:
        path: `<collection>/truth/<name>`; the collection decides the kind of writing where the file does not.
    """
    if path.suffix == ".csv":
        return parse_boxes(path.read_text(encoding="utf-8", errors="replace"))
    return parse_layout(path.read_bytes(), path.parent.parent.name)


def parse_boxes(text: str) -> PageTruth:
    """Parse lines of `x1,y1,x2,y2,x3,y3,x4,y4,text`; the text is everything after the eighth comma.

    >>> [line.text for line in parse_boxes("0,0,9,0,9,5,0,5,TOTAL 1,200").lines]
    ['TOTAL 1,200']
    """
    lines = []
    for row in text.splitlines():
        cells = row.split(",", 8)
        try:
            numbers = [float(cell) for cell in cells[:8]]
        except ValueError:
            continue
        if len(cells) == 9:
            lines.append(TruthLine(_row_col(numbers), cells[8], "printed"))
    return PageTruth(tuple(lines), ())


def parse_layout(data: bytes, collection: str = "") -> PageTruth:
    """Parse ALTO or PAGE XML: text lines, text regions without lines, and picture regions.

    Coordinates are read as pixels of the page image. The collection decides what a line's label leaves open.

    Raises:
        xml.etree.ElementTree.ParseError: If the bytes are not XML.
    """
    root = ElementTree.fromstring(data)  # noqa: S314 - truth files come with the training data, never from an archive
    labels = {tag.get("ID", ""): tag.get("LABEL", "") for tag in root.iter() if _name(tag) == "OtherTag"}
    lines: list[TruthLine] = []
    regions: list[TruthRegion] = []
    for element in root.iter():
        name = _name(element)
        label = " ".join(labels.get(tag, "") for tag in element.get("TAGREFS", "").split())
        if name == "TextLine":
            if (polygon := _polygon(element)) is not None:
                lines.append(_line(element, polygon, f"{label} {element.get('custom', '')}".lower(), collection))
            continue
        is_graphic = name in _GRAPHIC_REGIONS or (
            name == "TextBlock" and any(word in label.lower() for word in _GRAPHIC_LABELS)
        )
        is_bare_text = name in _TEXT_REGIONS and not any(_name(inner) == "TextLine" for inner in element.iter())
        if (is_graphic or is_bare_text) and (polygon := _polygon(element)) is not None:
            regions.append(TruthRegion(polygon, "graphic" if is_graphic else "text"))
    return PageTruth(tuple(lines), tuple(regions))


def _line(element: ElementTree.Element, polygon: np.ndarray, label: str, collection: str) -> TruthLine:
    if element.get("HPOS") is not None:
        text = " ".join(inner.get("CONTENT", "") for inner in element.iter() if _name(inner) == "String")
    else:
        own = [inner for inner in element if _name(inner) == "TextEquiv"]
        text = " ".join(part.text or "" for inner in own for part in inner if _name(part) == "Unicode")
    by_hand = (
        collection in _HANDWRITTEN_COLLECTIONS
        or any(word in label for word in _HANDWRITTEN_LABELS)
        or text.startswith(_HANDWRITTEN_MARK)
    )
    if by_hand:
        return TruthLine(polygon, text, "handwritten")
    return TruthLine(polygon, text, "printed", _TYPEWRITTEN_LABEL in label or collection in _TYPEWRITTEN_COLLECTIONS)


def _polygon(element: ElementTree.Element) -> np.ndarray | None:
    """Return an element's own outline as (n, 2) of (row, col), or None if it has fewer than three points."""
    points = next((inner.get("points", "") for inner in element if _name(inner) == "Coords"), None)
    if points is None:
        shape = next((inner for inner in element if _name(inner) == "Shape"), None)
        outline = None if shape is None else next((p for p in shape if _name(p) == "Polygon"), None)
        points = "" if outline is None else outline.get("POINTS", "")
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", points)]
    if len(numbers) >= 6:
        return _row_col(numbers[: len(numbers) // 2 * 2])
    if element.get("HPOS") is None:
        return None
    left, top, width, height = (float(element.get(side, 0)) for side in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))
    right, bottom = left + width, top + height
    return _row_col([left, top, right, top, right, bottom, left, bottom])


def _row_col(x_y: Sequence[float]) -> np.ndarray:
    return np.array(x_y, np.float64).reshape(-1, 2)[:, ::-1].copy()


def _name(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _truth_of(stem: str, truths: Sequence[Path]) -> Path | None:
    """Return an image's truth file: the same stem, the stem with INPUT for PAGE, or a stem that begins with it."""
    wanted = list(_truth_stems(stem))
    for name in wanted:
        for path in truths:
            if path.stem == name and path.suffix in (".xml", ".csv"):
                return path
    return next((path for path in truths if path.suffix == ".xml" and path.stem.startswith(stem)), None)


def _truth_stems(stem: str) -> Iterator[str]:
    yield stem
    yield f"{stem}_PAGE"
    yield f"{stem.replace('INPUT', 'PAGE')}_PAGE"
    yield stem.removesuffix("_B")
