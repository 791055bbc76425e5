"""Compute SSIMULACRA 2, a perceptual measure of the difference between a page and its source."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

# The measure, its matrix, constants and weights: J. Sneyers, SSIMULACRA 2.1 (BSD-3-Clause, see NOTICE), as implemented
# by the Python package `ssimulacra2` 0.3; test_ssimulacra2.py compares the two. That package takes 0.9 to 2 s per
# megapixel, this module 0.12 s and 11 bytes a pixel in addition to the images: a page is measured several times.

_ABSORBANCE = np.array(
    [[0.30, 0.622, 0.078], [0.23, 0.692, 0.078], [0.24342268924547819, 0.20476744424496821, 0.5518098665095536]]
)
_BIAS = 0.0037930732552754493
_C2 = 0.0009
_MIDDLE = (0.42, 0.6, 0.5)
"""Approximate X, Y and B of paper, subtracted to preserve float32 precision for differences. No score changes."""
LEAST_SIDE_PX = 8
"""Least side of an image that can be measured; smaller scales are skipped."""

# [channel X, Y, B][scale][mean, 4-norm][structure, artifact, lost detail]
_WEIGHTS = np.array(
    [
        [
            [[0.0, 0.0007376606707406586, 0.0], [0.0, 0.0007793481682867309, 0.0]],
            [[0.0, 0.0004371155730107379, 0.0], [1.1041726426657346, 0.00066284834129271, 0.00015231632783718752]],
            [[0.0, 0.0016406437456599754, 0.0], [1.8422455520539298, 11.441172603757666, 0.0]],
            [[0.0007989109436015163, 0.000176816438078653, 0.0], [1.8787594979546387, 10.94906990605142, 0.0]],
            [
                [0.0007289346991508072, 0.9677937080626833, 0.0],
                [0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053],
            ],
            [[0.0004550992113792063, 0.0, 0.0], [0.0013648766163243398, 0.0, 0.0]],
        ],
        [
            [[0.0, 0.0, 0.0], [7.466890328078848, 0.0, 17.445833984131262]],
            [[0.0006235601634041466, 0.0, 0.0], [6.683678146179332, 0.00037724407979611296, 1.027889937768264]],
            [[225.20515300849274, 0.0, 0.0], [19.213238186143016, 0.0011401524586618361, 0.001237755635509985]],
            [[176.39317598450694, 0.0, 0.0], [24.43300999870476, 0.28520802612117757, 0.0004485436923833408]],
            [[0.0, 0.0, 0.0], [34.77906344483772, 44.835625328877896, 0.0]],
            [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        ],
        [
            [[0.0, 0.0008680556573291698, 0.0], [0.0, 0.0, 0.0]],
            [[0.0, 0.0005313191874358747, 0.0], [0.00016533814161379112, 0.0, 0.0]],
            [[0.0, 0.0, 0.0], [0.0004179171803251336, 0.0017290828234722833, 0.0]],
            [[0.0020827005846636437, 0.0, 0.0], [8.826982764996862, 23.19243343998926, 0.0]],
            [
                [95.1080498811086, 0.9863978034400682, 0.9834382792465353],
                [0.0012286405048278493, 171.2667255897307, 0.9807858872435379],
            ],
            [[0.0, 0.0, 0.0], [0.0005130064588990679, 0.0, 0.00010854057858411537]],
        ],
    ]
)

_RADIUS_PX = 5
_WINDOW = np.exp(-(np.arange(-_RADIUS_PX, _RADIUS_PX + 1) ** 2) / (2 * 1.5**2)).astype(np.float32)
_WINDOW /= _WINDOW.sum()
_STRIP_PX = 1 << 19  # pixels processed at once
_GREY_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_GREY_LEVELS <= 0.04045, _GREY_LEVELS / 12.92, ((_GREY_LEVELS + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)


def scores(source: np.ndarray, others: Sequence[np.ndarray]) -> list[float]:
    """Return the SSIMULACRA 2 scores of images against the source; 100 is the source itself.

    At 90 a person cannot distinguish an image from the source when flipping between them, at 80 not side by side; 70 is
    high quality.

    Args:
        source: uint8, (height, width) or (height, width, 3) sRGB, at least 8 pixels a side.
        others: Images of the same kind, height and width.

    Raises:
        ValueError: If an image differs in height or width, or the source has fewer than 8 pixels a side.
    """
    if min(source.shape[:2]) < LEAST_SIDE_PX:
        raise ValueError(f"an image of {source.shape[:2]} pixels is too small to be measured")
    if unlike := [other.shape[:2] for other in others if other.shape[:2] != source.shape[:2]]:
        raise ValueError(f"an image has {unlike[0]} pixels, its source {source.shape[:2]}")
    totals = np.zeros(len(others))
    pictures = [source, *others]
    weights = _weights(*source.shape[:2])
    for scale in range(weights.shape[1]):
        totals += _weighed(pictures, weights[:, scale])
        pictures = [_halved(picture) for picture in pictures]
    return [_score(float(total)) for total in totals]


def _weights(height_px: int, width_px: int) -> np.ndarray:
    """Return the weights of an image's scales; a small image has fewer, filled from the flat list without gaps."""
    scales = 1
    while scales < _WEIGHTS.shape[1] and min(height_px, width_px) > (LEAST_SIDE_PX - 1) << scales:
        scales += 1
    return _WEIGHTS.ravel()[: scales * 18].reshape(3, scales, 2, 3)


def _weighed(pictures: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return the contribution of one scale to the total of each image but the first, their source, float64.

    Args:
        pictures: Images of one scale, uint8 or linear float32.
        weights: (3, 2, 3) [channel][mean, 4-norm][structure, artifact, lost detail].
    """
    height_px, width_px = pictures[0].shape[:2]
    # [picture][channel][mean, 4-norm][structure, artifact, lost detail]: sums of the errors, of their fourth powers
    sums = np.zeros((len(pictures) - 1, 3, 2, 3))
    step_px = max(1, _STRIP_PX // width_px)
    for top in range(0, height_px, step_px):
        rows = slice(max(0, top - _RADIUS_PX), min(height_px, top + step_px + _RADIUS_PX))
        inner = slice(top - rows.start, min(height_px, top + step_px) - rows.start)
        strips = [_opsin(_linear(picture[rows])) for picture in pictures]
        for channel in range(3):
            is_used = weights[channel].any(axis=0)
            if is_used.any():
                ours = _Plane(strips[0][channel], _MIDDLE[channel], inner)
                for number, strip in enumerate(strips[1:]):
                    theirs = _Plane(strip[channel], _MIDDLE[channel], inner)
                    sums[number, channel] += ours.errors(theirs, bool(is_used[0]))
    means = sums / (height_px * width_px)
    means[:, :, 1] **= 0.25
    return np.asarray((means * weights).sum(axis=(1, 2, 3)))


class _Plane:
    """One channel of a strip minus `middle`, and its local mean; only the rows `inner` count."""

    def __init__(self, plane: np.ndarray, middle: float, inner: slice) -> None:
        self.inner = inner
        self.middle = middle
        self.plane = plane
        self.mean = _window_mean(plane, -middle)[inner]

    def errors(self, other: _Plane, with_structure: bool) -> np.ndarray:
        """Return (2, 3) float64: the sums of three kinds of error and of their fourth powers."""
        ours, theirs = self.plane[self.inner], other.plane[self.inner]
        sums = np.zeros((2, 3))
        if with_structure:
            sums[:, 0] = _powers(np.maximum(self._structure(other), 0.0))
        edges = (1 + np.abs(theirs - other.mean)) / (1 + np.abs(ours - self.mean)) - 1
        sums[:, 1] = _powers(np.maximum(edges, 0.0))
        sums[:, 2] = _powers(np.minimum(edges, 0.0))
        return np.abs(sums)

    def _structure(self, other: _Plane) -> np.ndarray:
        """Return 1 - SSIM, with the measure's own term for the means."""
        square, other_square, product = (
            _window_mean(plane, self.middle * self.middle)[self.inner]
            for plane in (self.plane * self.plane, other.plane * other.plane, self.plane * other.plane)
        )
        difference = self.mean - other.mean
        covariance = product - self.mean * other.mean
        variances = (square - self.mean * self.mean) + (other_square - other.mean * other.mean)
        return np.asarray(1 - (1 - difference * difference) * (2 * covariance + _C2) / (variances + _C2))


def _powers(errors: np.ndarray) -> tuple[float, float]:
    squares = errors * errors
    return float(errors.sum(dtype=np.float64)), float(np.vdot(squares, squares))


def _linear(picture: np.ndarray) -> np.ndarray:
    """Return (height, width, 3) float32 linear light of uint8 sRGB; linear input is returned unchanged."""
    if picture.dtype != np.uint8:
        return picture
    linear = _LINEAR[picture]
    return linear if linear.ndim == 3 else np.repeat(linear[..., np.newaxis], 3, axis=2)


def _halved(picture: np.ndarray) -> np.ndarray:
    """Return linear light at half size; an odd edge is repeated."""
    height_px, width_px = picture.shape[:2]
    step_px = max(2, _STRIP_PX // width_px // 2 * 2)
    halves = []
    for top in range(0, height_px, step_px):
        strip = _linear(picture[top : top + step_px])
        even = cv2.copyMakeBorder(strip, 0, strip.shape[0] % 2, 0, width_px % 2, cv2.BORDER_REPLICATE)
        size = even.shape[1] // 2, even.shape[0] // 2
        halves.append(cv2.resize(even, size, interpolation=cv2.INTER_AREA))
    return np.concatenate(halves)


def _opsin(linear: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the channels X, Y and B of the XYB colour space, scaled as in the measure, minus `_MIDDLE`."""
    mixing = np.hstack([_ABSORBANCE, np.full((3, 1), _BIAS)]).astype(np.float32)
    long, middle, short = cv2.split(np.cbrt(cv2.transform(linear, mixing)) - np.float32(np.cbrt(_BIAS)))
    y = (long + middle) / 2
    # the measure's positive channels are 14 X + 0.42, Y + 0.01 and B - Y + 0.55
    return (long - middle) * 7 + (0.42 - _MIDDLE[0]), y + (0.01 - _MIDDLE[1]), short - y + (0.55 - _MIDDLE[2])


def _window_mean(plane: np.ndarray, side_value: float) -> np.ndarray:
    """Return the Gaussian mean around each pixel; the image is mirrored at top and bottom, constant at the sides."""
    wide = cv2.copyMakeBorder(plane, 0, 0, _RADIUS_PX, _RADIUS_PX, cv2.BORDER_CONSTANT, value=side_value)
    mean: np.ndarray = cv2.sepFilter2D(wide, -1, _WINDOW, _WINDOW, borderType=cv2.BORDER_REFLECT)
    return mean[:, _RADIUS_PX:-_RADIUS_PX]


def _score(total: float) -> float:
    total *= 0.9562382616834844
    bent = 2.326765642916932 * total - 0.020884521182843837 * total**2 + 6.248496625763138e-05 * total**3
    return 100.0 - 10.0 * bent**0.6276336467831387 if bent > 0 else 100.0
