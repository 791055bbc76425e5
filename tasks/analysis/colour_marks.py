"""Find coloured marks on a page, such as a red tick, a stamp or a pale carbon copy, and compare them after encoding.

A mark is found by its own properties, never by its share of the page: a small one counts on a large page too.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.tasks.analysis.resolution import reduced

WORK_DPI = 100.0
"""Approximate resolution of the search: a pen's stroke is one or two pixels wide, and grain is averaged out."""
MOST_WORK_PIXELS = 6_000_000
"""Pages with more pixels at `WORK_DPI` are searched at a lower resolution."""
LEAST_EXTENT_INCH = 0.04
"""Longer side of the smallest mark: 1 mm."""
LEAST_CHROMA = 6.0
"""Least mean chroma of a mark against the paper, in grey levels; pale carbon copies have 6 to 8."""
PLAIN_CHROMA, FAINT_AREA_SQ_INCH = 9.0, 0.018
"""A fainter mark counts from 12 square millimetres: JPEG leaves small spots of up to 7 levels next to black print."""
CLEAN_NOISE, CLEAN_AREA_SQ_INCH = 0.3, 0.005
"""On paper with so little chroma noise (grey levels) it counts from 3 square millimetres: a letter or two."""
LEAST_SATURATION = 0.15
"""Least chroma of a mark relative to its contrast with the paper. Black print tinted by a scanner or JPEG has up to
0.10 on real scans, pale carbon copies 0.4, a red pen 0.5, navy ink 0.1 to 0.2."""
STRONG_CHROMA, STRONG_SATURATION = 9.0, 0.11
"""Least chroma and saturation of ink that is both dark and coloured."""

_EDGE_CHROMA = 4.0  # at the edge of a mark; JPEG noise on white paper stays below
_EDGE_NOISE, _LEAST_NOISE = 4.0, 5.0  # the same, and the least chroma, in standard deviations of the paper's chroma
_SMALL_NOISE = 10.0  # least chroma of a mark below `CLEAN_AREA_SQ_INCH`: on grainy paper it may be a fleck or a fibre
_LEAST_PIXELS = 6
_LEAST_COHERENCE = 0.6  # net chroma over total chroma: fringes on the two sides of a stroke cancel out
_MOST_FRINGE = 0.15  # share of chroma energy explained by a shift between the channels: pens 0.05, fringes 0.2
_PLAIN_ERROR, _MOST_SHARE = 4.0, 0.9  # error for which the shares below are meant, and the most that they grow to
_LEAST_HUE_ERROR, _HUE_SHARE, _HUE_SATURATION = 1.5, 0.2, 0.3
"""Largest change of a mark's chroma perpendicular to its hue (grey levels, and share of its own chroma): 11 degrees;
and the least chroma, as a share of its contrast, for judging it. On real scans a good encoding moves most marks by 0.12
at most; a cyan note that looked green had moved by 0.24."""
_REACH_INCH = 0.02  # strokes this close to each other are one mark
_PAPER_STEP = 8
_PAPER_WINDOW_PX = 25  # at 1/8 of the working size: 2 inches
_DARKEST_PAPER = 32.0
_LIGHTER = 1.25  # print lowers the median luma of the paper, but not the ratio of its chroma to it
_INK_DARKNESS = 8.0  # pixels less dark than this against the paper are paper
_SAMPLE_STEP = 3
_BROAD_INCH = 0.08  # width of a broad pen's stroke; a highlighter's is wider
_WEAK_SHARE, _STRONG_SHARE = 0.6, 0.4  # shares of its chroma that a mark may lose
_CAST_SATURATION, _CAST_SHARE = 0.2, 1.1  # ink with less chroma relative to its darkness is black with a cast
_LEAST_CONTRAST, _KEPT_CONTRAST = 4.0, 0.5  # grey levels of luma, and the share of them that must stay


@dataclass(frozen=True)
class _Places:
    """Pixels of the working page by flat index, and the 0-based number of each pixel's mark."""

    at: np.ndarray
    number: np.ndarray
    n_marks: int

    def total(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.number, weights=values, minlength=self.n_marks)

    def of(self, plane: np.ndarray) -> np.ndarray:
        return np.asarray(plane.reshape(-1)[self.at])

    def mean(self, plane: np.ndarray) -> np.ndarray:
        n_pixels = np.bincount(self.number, minlength=self.n_marks)
        return np.asarray(self.total(self.of(plane)) / np.maximum(n_pixels, 1))

    def only(self, wanted: np.ndarray) -> _Places:
        """Return the pixels of the wanted marks, (n_marks,) bool, with the marks renumbered."""
        kept = wanted[self.number]
        numbers = np.cumsum(wanted) - 1
        return _Places(self.at[kept], numbers[self.number[kept]], int(wanted.sum()))

    def where(self, is_kept: np.ndarray) -> _Places:
        """Return the selected pixels of the same marks."""
        return _Places(self.at[is_kept], self.number[is_kept], self.n_marks)


@dataclass(frozen=True)
class _Seen:
    """A working page: luma uint8, Cr and Cb against the paper, darkness against it, mask of pixels with chroma."""

    luma: np.ndarray
    chroma: list[np.ndarray]
    darkness: np.ndarray
    core: np.ndarray
    noise: float
    dpi: float


@dataclass(frozen=True)
class ColourMarks:
    """The marks of a page, held at 1/`step` of its size, which is `shape`.

    `boxes` are (n, 4) int64 (row_px, col_px, height_px, width_px) in the page's own pixels; `chroma` (n, 2) float64,
    mean Cb and Cr against the paper, in grey levels; `look` is `look_of` the page itself.
    """

    step: int
    shape: tuple[int, int]
    boxes: np.ndarray
    chroma: np.ndarray
    look: np.ndarray
    inside: _Places
    beside: _Places

    def __len__(self) -> int:
        """Return the number of marks."""
        return len(self.boxes)

    def area(self, height_px: int, width_px: int) -> np.ndarray:
        """Return (height_px, width_px) bool: the marks on the page itself."""
        return self._enlarged(self._mask(), height_px, width_px)

    def strokes(self, height_px: int, width_px: int, dpi: float) -> np.ndarray:
        """Return (height_px, width_px) bool: the parts of the marks no broader than a pen's stroke."""
        mask = self._mask()
        side = max(2, round(_BROAD_INCH * dpi / self.step))
        broad = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
        return self._enlarged(cv2.subtract(mask, broad), height_px, width_px)

    def _mask(self) -> np.ndarray:
        mask = np.zeros(self.shape, np.uint8)
        mask.reshape(-1)[self.inside.at] = 1
        return mask

    def _enlarged(self, mask: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
        size = mask.shape[1] * self.step, mask.shape[0] * self.step
        whole: np.ndarray = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)[:height_px, :width_px]
        return whole > 0


_NOWHERE = _Places(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
NO_MARKS = ColourMarks(1, (1, 1), np.zeros((0, 4), np.int64), np.zeros((0, 2)), np.zeros((0, 3)), _NOWHERE, _NOWHERE)


def find_colour_marks(pixels: np.ndarray, dpi: float) -> ColourMarks:
    """Return the strokes of a page that have neither the colour of the paper nor that of black ink on it.

    A tint of film or paper is no mark, nor are the fringes that scanners and screen fonts leave on the two sides of a
    black stroke. On a page with colour variations everywhere, only marks that stand out are found.

    Args:
        pixels: uint8, (height, width) grey, which has no marks, or (height, width, 3) RGB.
        dpi: Resolution of the page; the tag or a guess is sufficient.
    """
    if pixels.ndim == 2:
        return NO_MARKS
    step = _work_step(pixels.shape[0], pixels.shape[1], dpi)
    luma, *stored = cv2.split(cv2.cvtColor(reduced(pixels, step), cv2.COLOR_RGB2YCrCb))
    if all(float(np.ptp(plane)) < _EDGE_CHROMA for plane in stored):
        return NO_MARKS
    chroma, darkness = _against_paper(luma, stored)
    strength: np.ndarray = cv2.magnitude(*(cv2.blur(plane, (3, 3)) for plane in chroma))
    noise = _noise(strength, darkness)
    core = strength > max(_EDGE_CHROMA, _EDGE_NOISE * noise)
    if not core.any():
        return NO_MARKS
    reach = max(1, round(_REACH_INCH * dpi / step))
    wide = cv2.dilate(core.view(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    n_found, labels, stats, _ = cv2.connectedComponentsWithStats(wide, ltype=cv2.CV_32S)
    at = np.flatnonzero(wide)
    around, boxes = _Places(at, labels.reshape(-1)[at] - 1, n_found - 1), stats[1:]
    seen = _Seen(luma, chroma, darkness, core, noise, dpi / step)
    extent = boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) - 2 * reach
    wanted = extent >= LEAST_EXTENT_INCH * seen.dpi
    for chosen in (_stand_out, _have_colour):
        around, boxes = around.only(wanted), boxes[wanted]
        wanted = chosen(around, seen)
    around, boxes = around.only(wanted), boxes[wanted]
    if not len(boxes):
        return NO_MARKS
    is_core = around.of(core)
    inside, beside = around.where(is_core), around.where(~is_core)
    return ColourMarks(
        step,
        luma.shape,
        boxes[:, [cv2.CC_STAT_TOP, cv2.CC_STAT_LEFT, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]].astype(np.int64) * step,
        np.stack([inside.mean(plane) for plane in chroma[::-1]], axis=1),
        _look([luma, *stored], inside, beside),
        inside,
        beside,
    )


def look_of(pixels: np.ndarray, marks: ColourMarks) -> np.ndarray:
    """Return (n, 3) float64: the appearance of marks on a page: mean Cb and Cr, and luma against the surroundings.

    Args:
        pixels: uint8, (height, width) or (height, width, 3), the page on which the marks were found or a copy of it.
        marks: Marks of the page.
    """
    small = reduced(pixels, marks.step)
    rgb = small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    return _look(list(cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb))), marks.inside, marks.beside)


def mean_over_marks(plane: np.ndarray, marks: ColourMarks) -> np.ndarray:
    """Return (n,) float64: the mean over each mark of a (height, width) plane of the page, of any size."""
    small: np.ndarray = cv2.resize(plane, marks.shape[::-1], interpolation=cv2.INTER_AREA)
    return marks.inside.mean(small)


@dataclass(frozen=True)
class MarkChange:
    """Changes of marks on a copy of their page: (n,) `chroma_error` in grey levels, and two (n,) bool.

    `is_discoloured`: a mark's colour error is too large. `is_faded`: a mark lost its luma contrast.
    """

    chroma_error: np.ndarray
    is_discoloured: np.ndarray
    is_faded: np.ndarray


def compare_marks(marks: ColourMarks, decoded: np.ndarray, most_error: float) -> MarkChange:
    """Return the changes of a page's marks after encoding and decoding.

    Args:
        marks: Marks of the source.
        decoded: uint8, (height, width) or (height, width, 3), of the source's size.
        most_error: Largest chroma error (grey levels) of a mark; a strong colour may be off by four tenths of its
            chroma, a pale one by six tenths at most. Above 4 levels these shares grow with it, to nine tenths at most.
    """
    look = look_of(decoded, marks)
    delta = (look - marks.look)[:, :2]
    error = np.hypot(*delta.T)
    return MarkChange(
        chroma_error=error,
        is_discoloured=(error > allowed_error(marks, most_error)) | _is_of_another_hue(marks, delta, most_error),
        is_faded=(np.abs(marks.look[:, 2]) >= _LEAST_CONTRAST)
        & (look[:, 2] * np.sign(marks.look[:, 2]) < _KEPT_CONTRAST / _leniency(most_error) * np.abs(marks.look[:, 2])),
    )


def _is_of_another_hue(marks: ColourMarks, delta: np.ndarray, most_error: float) -> np.ndarray:
    """Return (n,) bool: the marks that changed hue, which is more visible than a loss of chroma."""
    strength = np.hypot(*marks.look[:, :2].T)
    across = np.abs(delta[:, 0] * marks.look[:, 1] - delta[:, 1] * marks.look[:, 0]) / np.maximum(strength, 1e-6)
    is_colourful = strength >= _HUE_SATURATION * np.abs(marks.look[:, 2])  # in a darker mark the darkness dominates
    most = _leniency(most_error) * np.maximum(_LEAST_HUE_ERROR, _HUE_SHARE * strength)
    return np.asarray((across > most) & is_colourful)


def _leniency(most_error: float) -> float:
    """Return the factor by which the shares above grow for profiles that allow more error."""
    return max(1.0, most_error / _PLAIN_ERROR)


def allowed_error(marks: ColourMarks, most_error: float) -> np.ndarray:
    """Return (n,) float64: the largest chroma error (grey levels) of each mark, given that of a plain one.

    Dark ink with a cast, such as a typewriter ribbon's blue-black, may become black but not change its hue.
    """
    strength = np.hypot(*marks.chroma.T)
    weak, strong = (min(_MOST_SHARE, _leniency(most_error) * share) for share in (_WEAK_SHARE, _STRONG_SHARE))
    error = np.maximum(np.minimum(most_error, weak * strength), strong * strength)
    has_cast_only = strength < _CAST_SATURATION * np.abs(marks.look[:, 2])
    return np.asarray(np.where(has_cast_only, np.maximum(error, _CAST_SHARE * strength), error))


def _work_step(height_px: int, width_px: int, dpi: float) -> int:
    most = np.ceil(np.sqrt(height_px * width_px / MOST_WORK_PIXELS))
    return max(1, round(dpi / WORK_DPI), int(most))


def _against_paper(luma: np.ndarray, stored: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return Cr and Cb, float32, minus the paper's at equal luma; and how much lighter the paper is, float32.

    Ink is treated as paper with less light: black ink on cream paper has no colour of its own.
    """
    height, width = luma.shape
    coarse = [reduced(plane, _PAPER_STEP) for plane in (luma, *stored)]
    window = max(1, min(_PAPER_WINDOW_PX, (min(coarse[0].shape) - 1) | 1))
    light, *tints = (cv2.medianBlur(plane, window).astype(np.float32) for plane in coarse)
    light = np.maximum(light, _DARKEST_PAPER)
    paper = cv2.merge([light, *((tint - 128) / light for tint in tints)])
    size = paper.shape[1] * _PAPER_STEP, paper.shape[0] * _PAPER_STEP
    spread = cv2.resize(paper, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    paper_luma, *casts = cv2.split(spread)
    seen = np.minimum(luma, paper_luma * np.float32(_LIGHTER))
    chroma = []
    for plane, cast in zip(stored, casts, strict=True):
        centred = plane.astype(np.float32) - np.float32(128)
        centred -= np.multiply(cast, seen)
        chroma.append(centred)
    return chroma, cv2.subtract(paper_luma, luma, dtype=cv2.CV_32F)


def _noise(strength: np.ndarray, darkness: np.ndarray) -> float:
    """Return the standard deviation of a paper's own chroma, JPEG noise included, from pixels as light as the paper."""
    sample = np.s_[::_SAMPLE_STEP, ::_SAMPLE_STEP]
    paper = strength[sample][darkness[sample] < _INK_DARKNESS]
    # 90 % of a Rayleigh distribution is below 2.15 sigma
    return float(np.percentile(paper, 90)) / 2.15 if paper.size else 0.0


def _stand_out(around: _Places, seen: _Seen) -> np.ndarray:
    """Return (n,) bool: the candidates with enough chroma."""
    inside = around.where(around.of(seen.core))
    strength = np.hypot(*(inside.mean(plane) for plane in seen.chroma))
    n_pixels = np.bincount(inside.number, minlength=inside.n_marks)
    is_plain = (strength >= PLAIN_CHROMA) & (n_pixels >= _LEAST_PIXELS)
    least_area = CLEAN_AREA_SQ_INCH if seen.noise <= CLEAN_NOISE else FAINT_AREA_SQ_INCH
    is_faint = (strength >= LEAST_CHROMA) & (n_pixels >= least_area * seen.dpi**2)
    is_small = n_pixels < CLEAN_AREA_SQ_INCH * seen.dpi**2
    least_noise = np.where(is_small, _SMALL_NOISE, _LEAST_NOISE)
    return np.asarray((is_plain | is_faint) & (strength >= least_noise * seen.noise))


def _have_colour(around: _Places, seen: _Seen) -> np.ndarray:
    """Return (n,) bool: the candidates with a colour of their own, not tinted black ink and not a fringe."""
    inside = around.where(around.of(seen.core))
    strength = np.hypot(*(inside.mean(plane) for plane in seen.chroma))
    planes = [around.of(plane) for plane in seen.chroma]
    net = np.hypot(*(around.total(plane) for plane in planes))
    amount = np.hypot(*planes)
    saturation = net / np.maximum(around.total(np.abs(around.of(seen.darkness))), 1e-6)
    is_saturated = (saturation >= LEAST_SATURATION) | ((strength >= STRONG_CHROMA) & (saturation >= STRONG_SATURATION))
    is_coherent = net >= _LEAST_COHERENCE * around.total(amount)
    is_fringe = _explained_by_shift(seen.luma, planes, around) > _MOST_FRINGE * around.total(amount * amount)
    return np.asarray(is_saturated & is_coherent & ~is_fringe)


def _explained_by_shift(luma: np.ndarray, planes: list[np.ndarray], around: _Places) -> np.ndarray:
    """Return (n,) float64: the chroma energy explained by the luma gradient (least squares).

    Where one channel is slightly shifted against the others, chroma is that shift times the gradient.
    """
    down, across = (around.of(cv2.Sobel(luma, cv2.CV_32F, *order)) for order in ((0, 1), (1, 0)))
    total = around.total
    dd, da, aa = total(down * down) + 1e-3, total(down * across), total(across * across) + 1e-3
    determinant = np.maximum(dd * aa - da * da, 1e-3 * dd * aa)
    explained = np.zeros(around.n_marks)
    for plane in planes:
        with_down, with_across = total(plane * down), total(plane * across)
        explained += (with_down**2 * aa - 2 * with_down * with_across * da + with_across**2 * dd) / determinant
    return explained


def _look(planes: list[np.ndarray], inside: _Places, beside: _Places) -> np.ndarray:
    luma, red, blue = planes
    return np.stack([inside.mean(blue) - 128, inside.mean(red) - 128, inside.mean(luma) - beside.mean(luma)], axis=1)
