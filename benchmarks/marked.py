"""Read the marked scans of a folder, with their ink and words, as the reference of a comparison."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import typer

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import LimitSettings
from foliopress.model.truth import PageTruth, Scan, find_scans, read_truth
from foliopress.tasks.analysis import page_kinds
from foliopress.tasks.analysis.strokes import WINDOW_INCH, ink_mask
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.images import image_reader
from foliopress.tasks.ocr import recognition
from foliopress.tasks.storage.source_listing import DOCUMENT_SUFFIXES

ENGLISH_COLLECTIONS = frozenset({"ehri-typed", "stanford-letters", "sroie-receipts"})
"""Collections in a language that Tesseract's English model reads; only their words are counted."""
LEAST_WORDS = 10
"""Pages with fewer ground-truth words are not used to measure reading."""

_BINARISED = "_B"  # OCR-D's suffix for a page binarised by a program; it is not a scan
_DEFAULT_LINE_PX = 40.0
_STROKE_CONTRAST, _OTHER_CONTRAST = 8.0, 20.0  # grey levels; the second is well above paper grain
_LEAST_OTHER_FRACTION = 0.002  # of the page: less ink outside the lines is specks


@dataclass(frozen=True, eq=False)
class MarkedPage:
    """One upright source page and its ink.

    pixels: uint8, (height, width) or (height, width, 3) RGB. luma: (height, width) uint8. strokes: (height, width)
    bool, the strokes of the marked lines with a margin. other: bool at half size, ink outside the marked lines:
    drawings, stamps, photographs, unmarked writing; None if there is too little. words: Counts of the printed words of
    the marked lines; empty if words are not counted.
    """

    scan: Scan
    pixels: np.ndarray
    luma: np.ndarray
    dpi: float
    kind: page_kinds.PageKind
    strokes: np.ndarray
    other: np.ndarray | None
    words: Counter[str]


def find_marked(folder: Path, split: str) -> tuple[Scan, ...]:
    """Return the scans with marked lines in key order; a key is the path below the folder.

    Args:
        folder: With a `manifest.csv`, as for `model.truth.find_scans`; or any folder of images, each with a truth file
            of the same stem (`.xml` as ALTO or PAGE, `.csv` as boxes) next to it, or in a folder `truth` next to it or
            to its folder.
        split: `train` or `test`; only used with a manifest.

    Raises:
        ConfigError: If no scan has marked lines.
    """
    found = find_scans(folder, split) if (folder / "manifest.csv").is_file() else tuple(_scans_of(folder))
    marked = [
        scan
        for scan in found
        if scan.truth and not scan.path.stem.endswith(_BINARISED) and read_truth(scan.truth).lines
    ]
    if not marked:
        raise ConfigError(
            f"{folder} contains no scan with marked lines: a.jpg needs a.xml or a.csv next to it or in truth/"
        )
    return tuple(sorted(marked, key=lambda scan: scan.key))


def read_marked(scan: Scan) -> MarkedPage:
    """Decode a scan's first page and find its ink.

    Raises:
        PageError: If it cannot be decoded.
    """
    page = image_reader.read_page(scan.path.read_bytes(), 0, LimitSettings())
    luma = luma_of(page.pixels)
    assert scan.truth is not None
    truth = read_truth(scan.truth)
    strokes, other = regions(luma, truth)
    words = count_words(" ".join(line.text for line in truth.lines if line.kind == "printed"))
    return MarkedPage(
        scan=scan,
        pixels=page.pixels,
        luma=luma,
        dpi=recognition.guess_dpi(luma.shape[0], luma.shape[1], page.dpi),
        kind=page_kinds.page_kind(page),
        strokes=strokes,
        other=other if other.mean() > _LEAST_OTHER_FRACTION else None,
        words=words if is_english(scan) and words.total() >= LEAST_WORDS else Counter(),
    )


def is_english(scan: Scan) -> bool:
    """Return whether its words are counted; always true for folders without a manifest (their split is empty)."""
    return not scan.split or scan.collection in ENGLISH_COLLECTIONS


def regions(luma: np.ndarray, truth: PageTruth) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the text strokes and of the other ink.

    Neighbourhood and margin scale with the height of the marked lines: a pixel is ink by its contrast with a
    neighbourhood of one and a half lines, and strokes get a margin of an eighth of a line.

    Args:
        luma: (height, width) uint8.
        truth: The marked lines.

    Returns:
        (height, width) bool, strokes inside the lines with their margin; (height // 2, width // 2) bool, ink outside.
    """
    inside = line_area(truth, *luma.shape).view(np.uint8)
    heights = [float(np.ptp(line.polygon[:, 0])) for line in truth.lines]
    line_px = float(np.median(heights)) if heights else _DEFAULT_LINE_PX
    window_px = int(np.clip(1.5 * line_px, 15, 201)) | 1
    margin_px = int(np.clip(line_px / 8, 2, 9))
    ink = ink_mask(luma, window_px / WINDOW_INCH, _STROKE_CONTRAST).astype(np.uint8)
    near_ink = cv2.dilate(ink, np.ones((2 * margin_px + 1,) * 2, np.uint8)) > 0
    half = half_size(luma)
    near = cv2.resize(cv2.dilate(inside, np.ones((9, 9), np.uint8)), half.shape[::-1], interpolation=cv2.INTER_NEAREST)
    other = ink_mask(cv2.GaussianBlur(half, (5, 5), 1.2), window_px / WINDOW_INCH, _OTHER_CONTRAST)
    return near_ink & (inside > 0), other & (near == 0)


def line_area(truth: PageTruth, height_px: int, width_px: int) -> np.ndarray:
    """Return (height, width) bool, True inside the marked lines."""
    inside = np.zeros((height_px, width_px), np.uint8)
    for line in truth.lines:
        cv2.fillPoly(inside, [np.round(line.polygon[:, ::-1]).astype(np.int32)], 1)
    return inside > 0


def half_size(luma: np.ndarray) -> np.ndarray:
    """Return (height // 2, width // 2) uint8, each pixel the mean of the pixels that it covers."""
    height_px, width_px = luma.shape
    return cv2.resize(luma, (max(1, width_px // 2), max(1, height_px // 2)), interpolation=cv2.INTER_AREA)


def count_words(text: str) -> Counter[str]:
    """Return word counts of a text, in lower case; single letters are not words, single digits are.

    >>> sorted(count_words("Pier 7: a Pier, of stone").items())
    [('7', 1), ('of', 1), ('pier', 2), ('stone', 1)]
    """
    return Counter(word for word in re.findall(r"[a-z0-9]+", text.lower()) if len(word) > 1 or word.isdigit())


def _scans_of(folder: Path) -> Iterator[Scan]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in DOCUMENT_SUFFIXES and path.suffix.lower() != ".pdf" and path.is_file():
            key = path.relative_to(folder).as_posix()
            collection = key.split("/")[0] if "/" in key else folder.name
            yield Scan(key, path, "", collection, f"{collection}/{path.stem}", _truth_beside(path))


def _truth_beside(image: Path) -> Path | None:
    folders = image.parent, image.parent / "truth", image.parent.parent / "truth"
    places = [folder / f"{image.stem}{suffix}" for folder in folders for suffix in (".xml", ".csv")]
    return next((place for place in places if place.is_file()), None)


def scans_of_command(folder: Path, split: str) -> list[Path]:
    """Return the scans for a command; exit with an error message if there are none."""
    try:
        return [scan.path for scan in find_marked(folder, split)]
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
