"""Find strokes that an encoding has removed, added or moved, however few they are.

The mean SSIM of a block hides a lost dot or a swapped digit. Here one place decides: the difference of the page and its
encoding at reading size, as a fraction of how dark the writing near it is. On 58 scans of print, type and handwriting
(train split) our encodings differ by at most 0.10 in the words that OCR read. On 24 scans of the test split an erased
dot or accent differs by 0.34 or more, a swapped digit by 0.53 (`benchmarks.gate`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.analysis.tiles import TileGrid
from foliopress.tasks.checks.page_pair import PagePair
from foliopress.tasks.checks.rereading import sure_words
from foliopress.tasks.ocr.recognition import Word

_BLUR_PX = 0.8  # standard deviation, at reading size: grain is averaged out, a dot is not
_PAPER_STEP, _PAPER_WINDOW_PX = 4, 31  # the paper is the median of 0.8 inch
_DEPTH_WINDOW_PX = 37  # at the size of the paper: ink is as dark as within an inch
_LEAST_DEPTH = 12.0  # grey levels; fainter ink cannot be told from paper
_FAR_WEIGHT = 0.02  # weight of the whole page's ink, where little is nearby
_NO_INK = 1e-6
_SIMILARITY_WINDOW_PX = 5
_EDGE_PX = 0.25  # an edge that moves by less is no change
_CORE, _INKED = 127, 51  # share of ink, of 255, from which a pixel at reading size is within a stroke, and at one
_NEAR = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class SourceStrokes:
    """The strokes of a page at reading size: (height, width) each.

    `depth` is how dark the ink around a pixel is against its paper, float32 grey levels; `words` are the boxes
    of words that OCR was sure of, bool; `writing` is the ink of tiles that keep their resolution, with a margin, bool.
    """

    depth: np.ndarray
    words: np.ndarray
    writing: np.ndarray


@dataclass(frozen=True)
class StrokeChanges:
    """Largest change in words and in other writing, as fractions of the ink's depth; 0 without any.

    `word_changes` has those of each pixel of a word, (height, width) float32 at reading size. `failing` has the boxes
    of the changes beyond the limit, (n, 4) (row_px, col_px, height_px, width_px) in the page's own pixels.
    """

    in_words: float
    in_writing: float
    word_changes: np.ndarray
    failing: np.ndarray


def source_strokes(analysis: PageAnalysis, before: np.ndarray, sure: float) -> SourceStrokes:
    """Return the strokes of a page.

    Args:
        analysis: The page.
        before: Its luma at reading size, from `PagePair`.
        sure: Score from which a tile is certainly important.
    """
    height, width = before.shape
    small = max(1, width // _PAPER_STEP), max(1, height // _PAPER_STEP)
    paper = cv2.medianBlur(cv2.resize(before, small, interpolation=cv2.INTER_AREA), _PAPER_WINDOW_PX)
    darkness = cv2.absdiff(cv2.resize(paper, (width, height)), before)
    ink = cv2.resize(analysis.ink.plain.view(np.uint8) * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
    dark = np.where(ink > _CORE, darkness, np.uint8(0)).astype(np.float32)
    kept = _tiles_at(before.shape, (analysis.importance >= sure) | analysis.word_tiles, analysis.grid)
    writing = cv2.dilate((kept & (ink > _INKED)).view(np.uint8), _NEAR) > 0
    words = _words_at(before.shape, sure_words(analysis.words), analysis.luma.shape)
    return SourceStrokes(_depth(dark, small), words, writing)


def _depth(dark: np.ndarray, small: tuple[int, int]) -> np.ndarray:
    """Return how dark the ink around each pixel is.

    This is a contraharmonic mean, in which specks and faint edges count little.

    Args:
        dark: (height, width) float32, darkness of ink and 0 elsewhere.
        small: Width and height of the size at which the mean is taken.
    """
    weight = cv2.resize(dark, small, interpolation=cv2.INTER_AREA)
    total = cv2.resize(dark * dark, small, interpolation=cv2.INTER_AREA)
    far, window = _FAR_WEIGHT * float(weight.mean()), (_DEPTH_WINDOW_PX, _DEPTH_WINDOW_PX)
    mean_depth = float(total.sum() / (weight.sum() + _NO_INK))
    depth = (cv2.blur(total, window) + far * mean_depth) / (cv2.blur(weight, window) + far + _NO_INK)
    return np.asarray(cv2.resize(np.maximum(depth, np.float32(_LEAST_DEPTH)), dark.shape[::-1]))


def find_changes(pair: PagePair, strokes: SourceStrokes, most_in_words: float, most_in_writing: float) -> StrokeChanges:
    """Compare a page with its encoding stroke by stroke.

    Args:
        pair: The two.
        strokes: Of the source.
        most_in_words: Largest change in a word, as a fraction of the ink's depth.
        most_in_writing: Largest geometric mean of such a change and of the dissimilarity around it, elsewhere: specks
            of paper change as much as strokes do, but less of their surroundings.
    """
    change = _difference(_blurred(pair.before), _blurred(pair.after)) / strokes.depth
    in_words = np.where(strokes.words, change, np.float32(0))
    unlike = cv2.blur(1 - pair.similarity, (_SIMILARITY_WINDOW_PX, _SIMILARITY_WINDOW_PX))
    in_writing = np.sqrt(change[strokes.writing] * np.maximum(unlike[strokes.writing], 0))
    beyond = in_words > most_in_words
    beyond[strokes.writing] |= in_writing > most_in_writing
    failing = _boxes(beyond, pair.scale)
    return StrokeChanges(float(in_words.max(initial=0)), float(in_writing.max(initial=0)), in_words, failing)


def _difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return by how many grey levels each pixel of one plane lies outside the other's range within `_EDGE_PX` of it."""
    difference: np.ndarray = np.zeros(before.shape, np.float32)
    for one, other in ((before, after), (after, before)):
        lightest = cv2.addWeighted(other, 1 - _EDGE_PX, cv2.dilate(other, _NEAR), _EDGE_PX, 0)
        darkest = cv2.addWeighted(other, 1 - _EDGE_PX, cv2.erode(other, _NEAR), _EDGE_PX, 0)
        difference = cv2.max(difference, cv2.max(cv2.subtract(one, lightest), cv2.subtract(darkest, one)))
    return difference


def _blurred(plane: np.ndarray) -> np.ndarray:
    blurred: np.ndarray = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), _BLUR_PX)
    return blurred


def _tiles_at(shape: tuple[int, ...], tiles: np.ndarray, grid: TileGrid) -> np.ndarray:
    """Return the area of some tiles, bool of a shape to which the page is reduced."""
    height, width = shape
    rows = math.ceil(grid.n_rows * grid.tile_px * height / grid.height_px)
    cols = math.ceil(grid.n_cols * grid.tile_px * width / grid.width_px)
    area = cv2.resize(tiles.view(np.uint8), (cols, rows), interpolation=cv2.INTER_NEAREST)
    return np.asarray(area[:height, :width] > 0)


def _words_at(shape: tuple[int, ...], words: Sequence[Word], page_shape: tuple[int, ...]) -> np.ndarray:
    """Return the boxes of words, bool of a shape to which the page is reduced."""
    mask, scale = np.zeros(shape, bool), shape[0] / page_shape[0]
    for word in words:
        top, left = round(word.row_px * scale), round(word.col_px * scale)
        bottom, right = (word.row_px + word.height_px) * scale, (word.col_px + word.width_px) * scale
        mask[top : round(bottom), left : round(right)] = True
    return mask


def _boxes(places: np.ndarray, scale: float) -> np.ndarray:
    """Return the boxes of connected places, in pixels of the page."""
    if not places.any():
        return np.zeros((0, 4), np.int64)
    count, _, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(places.astype(np.uint8), _NEAR))
    corners = stats[1:count, [cv2.CC_STAT_TOP, cv2.CC_STAT_LEFT, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]]
    return np.asarray(np.ceil(corners / scale), np.int64).reshape(-1, 4)
